"""A tiny random Llama and LoRA adapters of it, written by the libraries contributors use."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

WORDS = ("<pad>", "<bos>", "<eos>", "<unk>", ">", "|", *"abcdefghijklmnop", *"PQRS0123456789")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL_LINEARS = (*ATTENTION, "gate_proj", "up_proj", "down_proj")


def save_base(directory: Path, *, seed: int = 1, **changes: Any) -> Path:
    """Write a random Llama with its tokenizer and return its directory."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    LlamaForCausalLM(llama_config(**changes)).eval().save_pretrained(directory)
    save_tokenizer(directory)
    return directory


def llama_config(**changes: Any) -> Any:
    """Return the configuration of the tiny Llama, with changes."""
    from transformers import LlamaConfig

    settings: dict[str, Any] = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        # The default of 0.02 gives nearly uniform logits, hence nothing but near ties.
        "initializer_range": 0.3,
    }
    return LlamaConfig(**(settings | changes))


def save_tokenizer(directory: Path) -> None:
    """Write a tokenizer that splits on white space and knows `WORDS`."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
    ).save_pretrained(directory)


def save_adapter(base: Path, directory: Path, *, seed: int, **settings: Any) -> Path:
    """Write a LoRA adapter with random, non-zero A and B and return its directory."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    model = LlamaForCausalLM.from_pretrained(base)
    with warnings.catch_warnings():
        # PEFT 0.21 reads an attribute that transformers 5 renamed.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        peft = get_peft_model(model, LoraConfig(**({"task_type": "CAUSAL_LM"} | settings)))
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    peft.save_pretrained(directory)
    return directory
