"""Tasks of lm-evaluation-harness: taken over exactly, or refused by the name of the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import UnfitSuiteError
from compose.lmtask import ImportedTask, import_task
from compose.suite import open_suite

CHOICE: dict[str, Any] = {
    "task": "sums",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "sums.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 1.0},
}
EXACT: dict[str, Any] = {
    **{key: value for key, value in CHOICE.items() if key != "doc_to_choice"},
    "output_type": "generate_until",
    "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": 8},
    "metric_list": [{"metric": "exact_match", "ignore_case": False}],
}
DOCUMENT = {"question": "1 + 1", "choices": ["2", "3"], "answer": 0, "weight": 0.5}


def convert(config: dict[str, Any], *documents: dict[str, Any]) -> ImportedTask:
    lines = "".join(json.dumps(each) + "\n" for each in documents or [DOCUMENT])
    read: list[str] = []

    def read_file(name: str) -> bytes:
        read.append(name)
        return lines.encode()

    made = import_task(
        yaml.safe_dump(config).encode(), read_file, license_name="MIT", what="task sums.yaml"
    )
    assert read == ["sums.jsonl"]
    return made


def items(made: ImportedTask) -> list[dict[str, Any]]:
    return [json.loads(line) for line in made.items.splitlines()]


def refused(config: dict[str, Any], *documents: dict[str, Any]) -> str:
    with pytest.raises(UnfitSuiteError) as caught:
        convert(config, *documents)
    assert "task sums.yaml" in caught.value.message
    return caught.value.message


def test_multiple_choice_becomes_a_suite_of_choices(tmp_path: Path) -> None:
    made = convert(CHOICE, DOCUMENT, DOCUMENT | {"answer": "3"})
    assert items(made) == [
        {"id": "0", "prompt": "Question: 1 + 1\nAnswer:", "choices": [" 2", " 3"], "answer": 0},
        {"id": "1", "prompt": "Question: 1 + 1\nAnswer:", "choices": [" 2", " 3"], "answer": 1},
    ]
    (tmp_path / "suite.toml").write_bytes(made.suite)
    (tmp_path / "items.jsonl").write_bytes(made.items)
    suite = open_suite(tmp_path)
    assert (suite.name, suite.scorer, len(suite.items)) == ("sums", "choice", 2)


def test_generation_becomes_a_suite_of_exact_answers(tmp_path: Path) -> None:
    made = convert(EXACT | {"description": "Add.\n\n", "doc_to_target": "is {{answer}}"})
    (item,) = items(made)
    assert item == {"id": "0", "prompt": "Add.\n\nQuestion: 1 + 1\nAnswer:", "answer": "is 0"}
    (tmp_path / "suite.toml").write_bytes(made.suite)
    (tmp_path / "items.jsonl").write_bytes(made.items)
    suite = open_suite(tmp_path)
    assert (suite.scorer, suite.max_tokens, suite.normalisation) == ("exact", 8, "none")


def test_space_at_the_end_of_a_prompt_goes_to_the_choices() -> None:
    made = convert(CHOICE | {"doc_to_text": "{{question}} =\n ", "target_delimiter": ""})
    (item,) = items(made)
    assert (item["prompt"], item["choices"]) == ("1 + 1 =", ["\n 2", "\n 3"])


@pytest.mark.parametrize("target", [1, "{{answer}}", "answer"])
def test_a_target_is_an_index_however_it_is_written(target: object) -> None:
    (item,) = items(convert(CHOICE | {"doc_to_target": target}, DOCUMENT | {"answer": 1}))
    assert item["answer"] == 1


def test_choices_may_be_texts_or_a_template_of_a_field() -> None:
    assert items(convert(CHOICE | {"doc_to_choice": ["a", "b"]}))[0]["choices"] == [" a", " b"]
    made = convert(CHOICE | {"doc_to_choice": "{{ choices }}"})
    assert items(made)[0]["choices"] == [" 2", " 3"]


REFUSED = {
    "few shots": ({"num_fewshot": 5}, "num_fewshot"),
    "a filter": ({"filter_list": [{"name": "x"}]}, "filter_list"),
    "code of its own": ({"process_results": "f"}, "process_results"),
    "a data set of the hub": ({"dataset_path": "super_glue"}, "dataset_path"),
    "a configuration of it": ({"dataset_name": "copa"}, "dataset_name"),
    "another file": ({"include": "other.yaml"}, "include"),
    "another output": ({"output_type": "loglikelihood"}, "output_type"),
    "another metric": ({"metric_list": [{"metric": "acc_norm"}]}, "acc_norm"),
    "another mean": ({"metric_list": [{"metric": "acc", "aggregation": "max"}]}, "aggregation"),
    "a program": ({"doc_to_text": "{% for x in y %}{% endfor %}"}, "doc_to_text"),
    "an expression": ({"doc_to_text": "{{question.strip()}}"}, "doc_to_text"),
    "an unknown field": ({"doc_to_text": "{{other}}"}, "other"),
    "a fraction": ({"doc_to_text": "{{weight}}"}, "weight"),
    "no such choice": ({"doc_to_target": "{{question}}"}, "target"),
    "a list of targets": ({"doc_to_target": "choices"}, "target"),
    "a computed delimiter": ({"target_delimiter": "{{question}}"}, "target_delimiter"),
    "no such split": ({"test_split": "dev"}, "split"),
    "more options": ({"dataset_kwargs": {"data_files": "a", "field": "b"}}, "dataset_kwargs"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_has_no_equal_is_refused_by_name(case: str) -> None:
    change, named = REFUSED[case]
    assert named in refused(CHOICE | change)


@pytest.mark.parametrize(
    "options",
    [
        {"until": ["\n"], "max_gen_toks": 8},
        {"max_gen_toks": 8},
        {"until": []},
        {"until": [], "max_gen_toks": 0},
        {"until": [], "max_gen_toks": 8, "do_sample": True},
        {"until": [], "max_gen_toks": 8, "temperature": 0.7},
    ],
)
def test_only_greedy_answers_up_to_the_end_token_are_known(options: dict[str, Any]) -> None:
    refused(EXACT | {"generation_kwargs": options})


@pytest.mark.parametrize(
    "text",
    [
        b"doc_to_text: !function utils.run\n",
        b"x: !!python/object/apply:os.system [id]\n",
        b"a: &a [1]\nb: *a\n",
        b"- a list\n",
        b"1: 2\n",
        b"\xff",
        b"[" * 20_000,
        b"a: b\n" * 20_000,
    ],
)
def test_yaml_that_could_do_more_than_say_something_is_refused(text: bytes) -> None:
    with pytest.raises(UnfitSuiteError):
        import_task(text, lambda _: b"", license_name="MIT", what="task")


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_our_error(data: bytes) -> None:
    for task, documents in ((data, b"{}"), (yaml.safe_dump(CHOICE).encode(), data)):
        try:
            import_task(task, lambda _, read=documents: read, license_name="MIT", what="task")
        except UnfitSuiteError:
            continue
