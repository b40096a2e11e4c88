"""A task of lm-evaluation-harness as a suite, or a refusal that names the field.

Read are tasks in YAML over local JSON lines. What is taken over means exactly the same here, so
that both tools give the same answers on the same model:

    multiple_choice   scorer `choice`: summed log-likelihoods, the first of the best wins (`acc`)
    generate_until    scorer `exact`: greedy to the end token or `max_gen_toks` (`exact_match`)

A template is literal text with `{{ field }}` and nothing else of Jinja. As the harness does, white
space at the end of a prompt goes to the beginning of what follows it. A field that could change an
answer and is not listed here is an error; so are the tags that make YAML run code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from compose.errors import MissingExtraError, UnfitSuiteError
from compose.scoring import Scorer
from compose.suite import MAX_ITEMS, MAX_LINE_BYTES, MAX_TOKENS
from compose.untrusted import parse_json_object, shown

MAX_TASK_BYTES: Final = 64 * 1024

_INFORMATIVE = {
    "tag", "task_alias", "metadata", "training_split", "validation_split", "fewshot_split",
    "fewshot_delimiter", "test_split", "task",
}  # fmt: skip
"""Fields that change no answer of a task without examples in its prompts."""
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "dataset_name": (None,),
    "num_fewshot": (None, 0),
    "repeats": (1,),
    "should_decontaminate": (False,),
    "doc_to_decontamination_query": (None,),
    "use_prompt": (None,),
}
_READ = {
    "dataset_path", "dataset_kwargs", "output_type", "description", "doc_to_text",
    "doc_to_target", "doc_to_choice", "target_delimiter", "generation_kwargs", "metric_list",
}  # fmt: skip
_METRICS: Mapping[str, tuple[str, Scorer]] = {
    "multiple_choice": ("acc", "choice"),
    "generate_until": ("exact_match", "exact"),
}
_FIELD = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")

Document = Mapping[str, Any]
ReadFile = Callable[[str], bytes]
"""Returns the bytes of the data file that a task names."""


@dataclass(frozen=True, slots=True)
class ImportedTask:
    """The two files of a suite, `suite.toml` and `items.jsonl`, and how many items there are."""

    name: str
    suite: bytes
    items: bytes
    count: int


def import_task(task: bytes, read_file: ReadFile, *, license_name: str, what: str) -> ImportedTask:
    """Translate a task into the files of a suite.

    Args:
        task: the YAML.
        read_file: returns the data file of the split that is tested.
        license_name: under which the items may be published; a task does not say.
        what: named in errors.

    Raises:
        UnfitSuiteError: naming a field, line or value that cannot be taken over.
        MissingExtraError: on an install without PyYAML.
    """
    config = _parse_yaml(task, what)
    _check_fields(config, what)
    kind = _text(config, "output_type", what)
    if kind not in _METRICS:
        raise UnfitSuiteError(
            f"{what}: output_type {shown(kind)} is not one of {', '.join(sorted(_METRICS))}"
        )
    metric, scorer = _METRICS[kind]
    _check_metrics(config.get("metric_list", []), metric, what)
    name = _text(config, "task", what)
    documents = _documents(read_file(_data_file(config, what)), what)
    limit = 1 if scorer == "choice" else _max_tokens(config, what)
    make = _choice_item if scorer == "choice" else _exact_item
    rows = [
        {"id": str(number), **make(config, document, f"{what}: document {number}")}
        for number, document in enumerate(documents)
    ]
    table = {
        "name": name,
        "license": license_name,
        "scorer": scorer,
        "max_tokens": limit,
        "description": f"Imported from the task {name} of lm-evaluation-harness",
    }
    # A JSON string of this kind is a basic string of TOML as well.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
    items = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return ImportedTask(name, ("\n".join(lines) + "\n").encode(), items.encode(), len(rows))


def _parse_yaml(data: bytes, what: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("PyYAML is not installed") from None
    if len(data) > MAX_TASK_BYTES:
        raise UnfitSuiteError(f"{what}: {len(data)} bytes, at most {MAX_TASK_BYTES} are accepted")
    try:
        # Aliases repeat what they name without limit, and no task needs them.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(data)):
            raise UnfitSuiteError(f"{what}: aliases are not accepted")
        value = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UnfitSuiteError(
            f"{what}: not plain YAML ({reason})",
            hint="tags such as !function run code and are never followed",
        ) from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UnfitSuiteError(f"{what}: not a table of fields")
    return value


def _check_fields(config: Mapping[str, Any], what: str) -> None:
    for field, value in config.items():
        if field in _READ or field in _INFORMATIVE:
            continue
        if not any(value == ok and type(value) is type(ok) for ok in _NEUTRAL.get(field, ())):
            raise UnfitSuiteError(
                f"{what}: field {shown(field)} is {shown(value)}, which has no equal here",
                hint="a task without examples, filters and functions can be imported",
            )


def _check_metrics(metrics: Any, metric: str, what: str) -> None:
    if not isinstance(metrics, list) or not all(isinstance(each, dict) for each in metrics):
        raise UnfitSuiteError(f"{what}: metric_list is {shown(metrics)}, not a list of tables")
    neutral = {"metric": metric, "aggregation": "mean", "higher_is_better": True}
    for each in metrics:
        for field, value in each.items():
            if value is not False and value != neutral.get(field, False):
                raise UnfitSuiteError(
                    f"{what}: metric_list has {shown(field)} {shown(value)}, "
                    f"only the mean of {metric} is known here"
                )


def _data_file(config: Mapping[str, Any], what: str) -> str:
    if config.get("dataset_path") != "json":
        raise UnfitSuiteError(
            f"{what}: dataset_path is {shown(config.get('dataset_path'))}, not json",
            hint="only data in local JSON lines are read",
        )
    options = config.get("dataset_kwargs")
    files = options.get("data_files") if isinstance(options, dict) and len(options) == 1 else None
    if isinstance(files, str):
        files = {"train": files}
    split = config.get("test_split") or config.get("validation_split")
    named = files.get(split) if isinstance(files, dict) else None
    if isinstance(named, list) and len(named) == 1:
        named = named[0]
    if not isinstance(named, str):
        raise UnfitSuiteError(
            f"{what}: dataset_kwargs names no one data file of the split {shown(split)}"
        )
    return named


def _documents(data: bytes, what: str) -> list[Document]:
    documents: list[Document] = []
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n")):
        if number >= MAX_ITEMS:
            raise UnfitSuiteError(f"{what}: more than {MAX_ITEMS} documents")
        where = f"{what}: document {number}"
        if len(line) > MAX_LINE_BYTES:
            raise UnfitSuiteError(f"{where}: {len(line)} bytes, at most {MAX_LINE_BYTES}")
        documents.append(parse_json_object(line, what=where, error=UnfitSuiteError))
    return documents


def _choice_item(config: Mapping[str, Any], document: Document, what: str) -> dict[str, Any]:
    choices = _choices(config.get("doc_to_choice"), document, what)
    target = config.get("doc_to_target")
    if isinstance(target, str) and target not in document:
        target = _render(config, "doc_to_target", document, what)
        target = int(target) if target.isdecimal() else target
    elif isinstance(target, str):
        target = document[target]
    if isinstance(target, str) and target in choices:
        target = choices.index(target)
    if type(target) is not int or not 0 <= target < len(choices):
        raise UnfitSuiteError(f"{what}: the target {shown(target)} is none of the choices")
    context = _context(config, document, what)
    prompt = context.rstrip()
    delimiter = context[len(prompt) :] + _delimiter(config, what)
    return {"prompt": prompt, "choices": [delimiter + each for each in choices], "answer": target}


def _exact_item(config: Mapping[str, Any], document: Document, what: str) -> dict[str, Any]:
    answer = _value(config, "doc_to_target", document, what)
    return {"prompt": _context(config, document, what), "answer": answer}


def _context(config: Mapping[str, Any], document: Document, what: str) -> str:
    description = config.get("description") or ""
    if not isinstance(description, str) or "{" in description:
        raise UnfitSuiteError(f"{what}: description is {shown(description)}, not a plain text")
    return description + _value(config, "doc_to_text", document, what)


def _choices(value: Any, document: Document, what: str) -> Sequence[str]:
    if isinstance(value, str):
        whole = _FIELD.fullmatch(value)
        value = document.get(whole[1] if whole else value)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UnfitSuiteError(
            f"{what}: doc_to_choice is {shown(value)}, neither texts nor a field that holds them"
        )
    return value


def _value(config: Mapping[str, Any], field: str, document: Document, what: str) -> str:
    """Return what the name of a field or a template gives for a document."""
    template = config.get(field)
    if isinstance(template, str) and template in document:
        return _plain(document[template], f"{what}: {shown(template)}")
    return _render(config, field, document, what)


def _render(config: Mapping[str, Any], field: str, document: Document, what: str) -> str:
    template = config.get(field)
    if not isinstance(template, str) or re.search(r"\{\{|\{%|\{#", _FIELD.sub("", template)):
        raise UnfitSuiteError(
            f"{what}: {field} is {shown(template)}, not a text with {{{{ field }}}} in it"
        )

    def replaced(match: re.Match[str]) -> str:
        if match[1] not in document:
            raise UnfitSuiteError(f"{what}: {field} names {shown(match[1])}, which is no field")
        return _plain(document[match[1]], f"{what}: {shown(match[1])}")

    return _FIELD.sub(replaced, template)


def _plain(value: Any, what: str) -> str:
    if not isinstance(value, str) and type(value) is not int:
        raise UnfitSuiteError(f"{what} is {shown(value)}, neither a text nor a whole number")
    return str(value)


def _delimiter(config: Mapping[str, Any], what: str) -> str:
    value = config.get("target_delimiter", " ")
    if not isinstance(value, str) or "{" in value:
        raise UnfitSuiteError(f"{what}: target_delimiter is {shown(value)}, not a plain text")
    return value


def _max_tokens(config: Mapping[str, Any], what: str) -> int:
    options = config.get("generation_kwargs")
    if not isinstance(options, dict) or options.get("until") != []:
        raise UnfitSuiteError(
            f"{what}: generation_kwargs must say 'until: []'",
            hint="answers end with the end token of the model; other texts do not end one here",
        )
    for field, value in options.items():
        neutral = {"until": [], "do_sample": False, "temperature": 0}
        if field != "max_gen_toks" and (field not in neutral or value != neutral[field]):
            raise UnfitSuiteError(
                f"{what}: generation_kwargs has {shown(field)} {shown(value)}; answers are greedy"
            )
    limit = options.get("max_gen_toks")
    if type(limit) is not int or not 1 <= limit <= MAX_TOKENS:
        raise UnfitSuiteError(
            f"{what}: max_gen_toks is {shown(limit)}, not a whole number in 1..{MAX_TOKENS}"
        )
    return limit


def _text(config: Mapping[str, Any], field: str, what: str) -> str:
    value = config.get(field)
    if not isinstance(value, str) or not value.strip():
        raise UnfitSuiteError(f"{what}: {field} is {shown(value)}, not a text")
    return value
