"""A tiny random base model and four adapters, made by the libraries contributors use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.compose.systems import Workshop, make_workshop
from tests.compose.tiny import ALL_LINEARS, ATTENTION, save_adapter, save_base


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Pin torch to one thread; skip where the compose extra is not installed."""
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_base(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 2 layers and hidden size 16 with a word-level tokenizer.

    It has grouped-query attention and untied embeddings, so that a wrong shape shows.
    """
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def tiny_adapters(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four LoRA adapters of `tiny_base`: ranks 2, 4, 4, 2; the third uses rsLoRA."""
    root = tmp_path_factory.mktemp("adapters")
    settings: Sequence[dict[str, Any]] = (
        {"r": 2, "lora_alpha": 4, "target_modules": list(ALL_LINEARS)},
        {"r": 4, "lora_alpha": 8, "target_modules": list(ATTENTION)},
        {"r": 4, "lora_alpha": 4, "target_modules": list(ALL_LINEARS), "use_rslora": True},
        {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj", "down_proj"]},
    )
    return [
        save_adapter(tiny_base, root / f"adapter{number}", seed=10 + number, **each)
        for number, each in enumerate(settings)
    ]


@pytest.fixture(scope="session")
def workshop(tiny_base: Path, tiny_adapters: list[Path]) -> Workshop:
    """The tiny base and its adapters, three suites, and a dev suite they solve in turn."""
    return make_workshop(tiny_base, tiny_adapters)
