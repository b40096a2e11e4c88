"""Errors of composition.

    PolicyError                 7
    `- UnfitError               7                   names the check that failed
       |- UnfitAdapterError     7  unfit-adapter    refused before its tensors are used
       |- UnfitBaseError        7  unfit-base
       `- UnfitSuiteError       7  unfit-suite
    UsageError                  2
    |- RecipeError              2  bad-recipe
    |- MethodError              2  bad-method       unknown method or parameter
    `- MissingExtraError        2  missing-extra    torch and its company are not installed
    EvidenceError               3
    `- ReplayMismatchError      3  replay-mismatch  a re-run gives other outcomes

The tree above them is in `ledger.errors`.
"""

from __future__ import annotations

from ledger.errors import EvidenceError, PolicyError, UsageError


class UnfitError(PolicyError):
    """Files of a stranger that do not pass a check; the code ends with its name, if it has one."""

    def __init__(self, message: str, *, hint: str | None = None, check: str | None = None) -> None:
        super().__init__(message, hint=hint)
        if check is not None:
            self.code = f"{self.code}.{check}"


class UnfitAdapterError(UnfitError):
    """An adapter that is not a plain LoRA of its base model, or not safe to open.

    Always names one of `compose.admission.CHECKS`.
    """

    code = "unfit-adapter"
    default_hint = (
        "save a plain LoRA with PEFT: adapter_config.json and adapter_model.safetensors, "
        "target_modules a list such as ['q_proj', 'v_proj']"
    )


class UnfitBaseError(UnfitError):
    """A base model that cannot be pinned and run here."""

    code = "unfit-base"
    default_hint = (
        "use a Llama-shaped decoder with config.json, tokenizer.json and safetensors weights"
    )


class UnfitSuiteError(UnfitError):
    """A directory that is not a task suite in the one accepted form."""

    code = "unfit-suite"
    default_hint = "a suite is suite.toml and items.jsonl, nothing else but README.md"


class RecipeError(UsageError):
    """A recipe that cannot be read."""

    code = "bad-recipe"
    default_hint = "a recipe needs base, members, method and suites; numbers are written as text"


class MethodError(UsageError):
    """A composition method or one of its parameters that does not exist or makes no sense."""

    code = "bad-method"
    default_hint = "see the reference of composition methods for names, parameters and defaults"


class MissingExtraError(UsageError):
    """A command that needs a part of pnode that is not installed."""

    code = "missing-extra"
    default_hint = "install what it needs with: pip install 'pnode[compose]'"


class ReplayMismatchError(EvidenceError):
    """A re-run that does not give what was recorded."""

    code = "replay-mismatch"
    default_hint = "compare base, software versions and exactness class, then dispute the record"
