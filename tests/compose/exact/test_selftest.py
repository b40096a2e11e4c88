"""A machine whose arithmetic is another one is told apart before it computes anything."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.errors import IncompleteError
from tests.compose.exact.models import vectors

torch = pytest.importorskip("torch")

from compose.exact import arithmetic, selftest  # noqa: E402 - they need torch


def test_the_self_test_is_the_published_vector() -> None:
    vector = vectors()["hashed"]
    assert selftest.rows() == vector["rows"]
    assert vector["logits"] == selftest.LOGITS
    assert vector["log_probs"] == selftest.LOG_PROBS
    selftest.check_arithmetic()


def test_a_square_root_that_is_off_by_a_bit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(values: Any) -> Any:
        root = values.sqrt()
        return torch.nextafter(root, root + 1)

    monkeypatch.setattr(arithmetic, "square_root", off)
    with pytest.raises(IncompleteError, match="compute as the exact engine does") as caught:
        selftest.check_arithmetic.__wrapped__()
    assert caught.value.exit_code == 9
