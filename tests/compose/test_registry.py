"""A composition method is one file: dropping it into the package is all there is to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose import methods
from compose.errors import MethodError
from compose.methods import METHODS, discover, find_method

SIXTH = """
from compose.methods.merge_linear import MergeLinear


class MergeSixth(MergeLinear):
    name = "merge.sixth"
    version = "1"
"""


def test_every_method_has_a_name_of_its_own() -> None:
    assert len(METHODS) == len(list(discover(methods.__path__)))


def test_a_new_method_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "merge_sixth.py").write_text(SIXTH)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    found = {method.name: method for method in discover(methods.__path__)}
    assert set(found) == {*METHODS, "merge.sixth"}
    assert found["merge.sixth"].level == "weight"


def test_a_misspelt_method_names_the_nearest() -> None:
    with pytest.raises(MethodError) as refused:
        find_method("merge.tise")
    assert "merge.ties" in refused.value.hint


def test_another_version_is_refused() -> None:
    with pytest.raises(MethodError, match="version 99"):
        find_method("merge.ties", version="99")
