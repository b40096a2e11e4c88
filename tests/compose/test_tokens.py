"""The tokenizer is the pinned file and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from compose.base import open_base
from compose.errors import UnfitBaseError, UnfitSuiteError
from compose.tokens import MAX_TEXT_CHARACTERS, Tokens
from ledger.errors import DigestError


@pytest.fixture
def text(tiny_base: Path) -> bytes:
    return (tiny_base / "tokenizer.json").read_bytes()


def changed(text: bytes, **fields: object) -> bytes:
    return json.dumps(json.loads(text) | fields).encode()


def test_words_become_ids_and_words_again(tiny_base: Path) -> None:
    tokens = Tokens.open(open_base(tiny_base, name="tiny"))
    ids = tokens.encode_prompt("P a b >")
    assert len(ids) == 4
    assert tokens.decode(ids) == "P a b >"
    assert tokens.decode((*ids, 2, 0)) == "P a b >"


def test_special_tokens_go_before_prompts_only(text: bytes) -> None:
    template = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<bos>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [],
        "special_tokens": {"<bos>": {"id": "<bos>", "ids": [1], "tokens": ["<bos>"]}},
    }
    template["pair"] = template["single"]
    tokens = Tokens(changed(text, post_processor=template), vocab_size=36)
    plain = tokens.encode_continuation("a b")
    assert tokens.encode_prompt("a b") == (1, *plain)


def test_truncation_that_the_file_asks_for_is_ignored(text: bytes) -> None:
    cut = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    tokens = Tokens(changed(text, truncation=cut), vocab_size=36)
    assert len(tokens.encode_prompt("a b c")) == 3


@pytest.mark.parametrize("garbage", [b"", b"{}", b"[1, 2", b"\x80\x00", b'{"version": "1.0"}'])
def test_what_is_no_tokenizer_is_refused(garbage: bytes) -> None:
    with pytest.raises(UnfitBaseError, match="not a tokenizer"):
        Tokens(garbage, vocab_size=36)


def test_an_id_without_an_embedding_is_refused(text: bytes) -> None:
    with pytest.raises(UnfitSuiteError, match="the base has 8 embeddings"):
        Tokens(text, vocab_size=8).encode_prompt("a b c")


def test_texts_too_long_or_empty_are_refused(text: bytes) -> None:
    tokens = Tokens(text, vocab_size=36)
    with pytest.raises(UnfitSuiteError, match="item x: 1048577 characters"):
        tokens.encode_prompt("a" * (MAX_TEXT_CHARACTERS + 1), what="item x")
    with pytest.raises(UnfitSuiteError, match="item x: 0 tokens"):
        tokens.encode_continuation(" ", what="item x")


def test_a_tokenizer_changed_after_pinning_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    base = open_base(directory, name="tiny")
    with (directory / "tokenizer.json").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(DigestError, match="changed since it was opened"):
        Tokens.open(base)
