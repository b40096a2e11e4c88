"""`describe`, and names on the hub, as a caller of the command line sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import Pnode


@pytest.fixture
def suite_id(home: Path, suite: Path, pnode: Pnode) -> str:
    return pnode("publish", str(suite), "-q").out.strip()


def test_a_document_goes_to_standard_output_or_a_file_as_it_is(
    pnode: Pnode, suite_id: str, tmp_path: Path
) -> None:
    shown = pnode("describe", suite_id[:16], "--format", "cyclonedx")
    assert (shown.code, shown.err) == (0, "")
    assert json.loads(shown.out)["bomFormat"] == "CycloneDX"
    written = pnode("describe", suite_id, "--format", "cyclonedx", "-o", "bom.json", "-q")
    assert (written.code, written.out) == (0, "bom.json\n")
    assert (tmp_path / "bom.json").read_text() == shown.out
    result = pnode("describe", suite_id, "--format", "cyclonedx", "--json").json
    assert result == {
        "bytes": len(shown.out),
        "document": shown.out,
        "file": None,
        "format": "cyclonedx",
        "id": suite_id,
        "schema": "pnode.describe/1",
        "warning": "",
    }


def test_a_warning_stands_beside_the_document(pnode: Pnode, suite_id: str) -> None:
    pnode("withdraw", suite_id, "--reason", "wrong")
    shown = pnode("describe", suite_id, "--format", "cyclonedx")
    assert json.loads(shown.out)
    assert shown.err == f"pnode: warning: {suite_id} is withdrawn\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("describe", "bafkreih4a7bqxx"), 2, "--format"),
        (("describe", "bafkreih4a7bqxx", "--format", "pdf"), 2, "cyclonedx"),
        (("describe", "bafkreih4a7bqxx", "--format", "oms"), 2, "--key"),
        (("describe", "bafkreih4a7bqxx", "--format", "cyclonedx"), 5, "bafkreih4a7bqxx"),
        (("--offline", "publish", "hf:owner/name"), 6, "hf:owner/name@main"),
        (("--offline", "base", "add", "owner/name@v1"), 6, "hf:owner/name@v1"),
        (("publish", "hf:owner"), 2, "hf:OWNER/NAME"),
        (("publish", ""), 2, "empty"),
    ],
)
def test_refusals_have_their_exit_codes(
    home: Path, pnode: Pnode, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = pnode(*arguments)
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert result.err.startswith("pnode: error: ")
    assert "pnode: hint: " in result.err
