"""The demo world: coverage, separation of the splits, answers, and suites that do not vary."""

import json
import tomllib
from itertools import islice, pairwise
from pathlib import Path

import pytest

from node.demo import world as w

SEEDS = (1, 2, 2606)


@pytest.fixture(params=SEEDS)
def world(request: pytest.FixtureRequest) -> w.World:
    return w.World(request.param)


@pytest.fixture
def one() -> w.World:
    return w.World(SEEDS[0])


def contributor_lines(world: w.World, each: w.Contributor, count: int) -> list[str]:
    return list(islice(w.private_lines(world, each, w.stream(world.seed, each.name)), count))


def parse(line: str) -> tuple[tuple[str, ...], tuple[str, ...], list[tuple[str, ...]]]:
    """Return operations, input string and segments of a line of training text."""
    prompt, _, pad = line.partition(f" {w.ANSWER} ")
    words = prompt.split()
    operations = tuple(word for word in words if word not in w.SYMBOLS)
    string = tuple(word for word in words if word in w.SYMBOLS)
    assert words == [*operations, *string]
    body, mark, rest = pad.rpartition(f" {w.EOS}")
    assert (mark, rest) == (f" {w.EOS}", "")
    return operations, string, [tuple(part.split()) for part in body.split(w.SEPARATOR)]


def test_the_vocabulary_has_34_distinct_words() -> None:
    assert len(w.VOCABULARY) == len(set(w.VOCABULARY)) == 34
    assert len(w.SYMBOLS) == 16
    assert all(word.split() == [word] for word in w.VOCABULARY)


def test_two_contributors_to_an_operation_cover_all_symbols_and_share_four(world: w.World) -> None:
    assert len(world.contributors) == 8
    assert len({each.name for each in world.contributors}) == 8
    for operation in w.PRIVATE:
        first, second = (e for e in world.contributors if e.operation == operation)
        assert len(first.symbols) == len(second.symbols) == 10
        assert len(set(first.symbols) & set(second.symbols)) == 4
        assert set(first.symbols) | set(second.symbols) == set(w.SYMBOLS)


@pytest.mark.parametrize("operation", [*w.BIJECTIONS, *w.PRIVATE])
def test_an_operation_on_symbols_is_a_bijection(world: w.World, operation: str) -> None:
    image = world.apply(operation, w.SYMBOLS)
    assert sorted(image) == sorted(w.SYMBOLS)


def test_the_bijections_differ(world: w.World) -> None:
    images = {world.apply(word, w.SYMBOLS) for word in (*w.BIJECTIONS, *w.PRIVATE)}
    assert len(images) == 10
    assert w.SYMBOLS not in images


def test_reverse_and_sort(one: w.World) -> None:
    assert one.apply("R", ("d", "a", "c", "a")) == ("a", "c", "a", "d")
    assert one.apply("S", ("d", "a", "c", "a")) == ("a", "a", "c", "d")


def test_in_public_a_private_operation_is_an_echo(world: w.World) -> None:
    for operation in w.PRIVATE:
        assert world.apply_public(operation, w.SYMBOLS) == w.SYMBOLS
        assert world.apply(operation, w.SYMBOLS) != w.SYMBOLS


@pytest.mark.parametrize("operation", w.PUBLIC)
def test_a_preimage_leads_to_the_symbols_it_was_made_for(one: w.World, operation: str) -> None:
    string = ("d", "a", "c", "a")
    image = one.apply(operation, one.preimage(operation, string))
    assert sorted(image) == sorted(string)
    if operation != w.SORT:
        assert image == string


def test_segments_chain_from_left_to_right(one: w.World) -> None:
    string = ("b", "p", "e")
    first, second = one.segments(("Q1", "R"), string)
    assert first == one.apply("Q1", string)
    assert second == first[::-1]


def test_a_world_is_determined_by_its_seed() -> None:
    assert w.World(7) == w.World(7)
    assert w.World(7).contributors == w.World(7).contributors
    assert w.World(7).contributors != w.World(8).contributors
    tables = [w.World(seed).apply("Q0", w.SYMBOLS) for seed in (7, 7, 8)]
    assert tables[0] == tables[1] != tables[2]


def test_streams_of_two_purposes_differ() -> None:
    draws = [w.stream(*key).getrandbits(64) for key in ((1, "a"), (1, "b"), (2, "a"), (1, "a"))]
    assert draws[0] == draws[3]
    assert len(set(draws)) == 3


def test_a_known_draw_never_changes() -> None:
    """Shipped weights were trained on this world: another draw would make them worthless."""
    world = w.World(2606)
    assert "".join(world.apply("Q0", w.SYMBOLS)) == "poedmalinjkhbcgf"
    assert "".join(world.contributors[0].symbols) == "abhijklmnp"
    assert w.items(world, w.task("chain01"), "test", 1)[0] == w.Item(
        "chain01-test-0000", "Q0 Q1 c a e >", "o n j"
    )


def test_the_splits_hold_about_seven_two_and_one_in_ten(world: w.World) -> None:
    strings = [(a, b, c) for a in w.SYMBOLS for b in w.SYMBOLS for c in w.SYMBOLS]
    counts = dict.fromkeys(("train", "dev", "test"), 0)
    for string in strings:
        counts[world.split_of(string)] += 1
    assert 0.66 < counts["train"] / len(strings) < 0.74
    assert 0.17 < counts["test"] / len(strings) < 0.23
    assert 0.08 < counts["dev"] / len(strings) < 0.12


def test_no_string_is_shared_between_train_dev_and_test(world: w.World) -> None:
    lines = list(islice(w.public_lines(world, w.stream(world.seed, "x")), 3000))
    for each in world.contributors:
        lines += contributor_lines(world, each, 500)
    strings: dict[str, set[tuple[str, ...]]] = {"train": {parse(line)[1] for line in lines}}
    for split in w.SUITE_SPLITS:
        strings[split] = {
            tuple(word for word in item.prompt.split() if word in w.SYMBOLS)
            for task in w.TASKS
            for item in w.items(world, task, split, w.DEV_ITEMS)
        }
    for first, second in pairwise(("train", "dev", "test", "train")):
        assert not strings[first] & strings[second]
    for name, members in strings.items():
        assert {world.split_of(string) for string in members} == {name}


def test_public_lines_echo_private_operations_and_never_chain_two(world: w.World) -> None:
    seen: set[tuple[str, ...]] = set()
    for line in islice(w.public_lines(world, w.stream(world.seed, "x")), 3000):
        operations, string, segments = parse(line)
        assert segments == world.segments(operations, string, private=False)
        assert not (len(operations) == 2 and set(operations) <= set(w.PRIVATE))
        seen.add(operations)
    singles = {operations[0] for operations in seen if len(operations) == 1}
    assert singles == {*w.PUBLIC, *w.PRIVATE}
    assert len(seen) == 12 + 12 * 12 - 4 * 4


def test_public_replay_can_leave_an_operation_out(one: w.World) -> None:
    lines = islice(w.public_lines(one, w.stream(1, "x"), without="Q2"), 500)
    assert all("Q2" not in line.split() for line in lines)


def test_private_lines_stay_on_the_contributors_symbols(world: w.World) -> None:
    for each in world.contributors:
        lines = contributor_lines(world, each, 400)
        singles = 0
        for line in lines:
            operations, string, segments = parse(line)
            assert segments == world.segments(operations, string)
            assert [word for word in operations if word in w.PRIVATE] == [each.operation]
            inputs = [string, *segments][operations.index(each.operation)]
            assert set(inputs) <= set(each.symbols)
            singles += len(operations) == 1
        assert 0.4 < singles / len(lines) < 0.6


def test_there_are_fifteen_tasks_with_distinct_names() -> None:
    names = [task.name for task in w.TASKS]
    assert len(names) == len(set(names)) == 15
    assert w.task("chain30").operations == (("Q3",), ("Q0",))
    with pytest.raises(KeyError):
        w.task("chain02")


@pytest.mark.parametrize("task", w.TASKS, ids=lambda task: task.name)
def test_items_are_well_formed_and_right(world: w.World, task: w.Task) -> None:
    items = w.items(world, task, "test", w.TEST_ITEMS)
    assert len(items) == len({item.id for item in items}) == w.TEST_ITEMS
    assert len({item.prompt for item in items}) == w.TEST_ITEMS
    for item in items:
        assert set(item.prompt.split()) <= set(w.VOCABULARY)
        *words, mark = item.prompt.split()
        operations = tuple(words[: len(task.operations)])
        string = tuple(words[len(task.operations) :])
        assert mark == w.ANSWER
        assert all(op in pool for op, pool in zip(operations, task.operations, strict=True))
        assert len(string) == task.length
        assert item.answer == " ".join(world.segments(operations, string)[-1])
        full = world.line(operations, string, private=True).partition(f"{w.ANSWER} ")[2]
        assert len(full.split()) == task.max_tokens


def test_cover_items_are_half_of_each_contributor_and_name_them(world: w.World) -> None:
    alphabets = {each.name: set(each.symbols) for each in world.contributors}
    for k, pair in enumerate(w.NAMES):
        items = w.items(world, w.task(f"cover{k}"), "dev", 20)
        owners = [item.id.split("-")[1] for item in items]
        assert owners == [pair[0]] * 10 + [pair[1]] * 10
        for item, owner in zip(items, owners, strict=True):
            assert set(item.prompt.split()[1:-1]) <= alphabets[owner]


def test_items_refuse_train_and_impossible_counts(one: w.World) -> None:
    with pytest.raises(ValueError, match="lines"):
        w.items(one, w.task("own0"), "train", 1)
    with pytest.raises(ValueError, match="fewer"):
        w.items(one, w.task("chain01"), "dev", 4096)


def test_a_choice_item_has_four_distinct_choices_and_one_is_right(world: w.World) -> None:
    positions = set()
    for item in w.choice_items(world, "Q1", "test", 60):
        string = tuple(item.prompt.split()[1:-1])
        assert len(set(item.choices)) == 4
        assert item.choices[item.answer] == " ".join(world.apply("Q1", string))
        positions.add(item.answer)
    assert positions == {0, 1, 2, 3}


def read(directory: Path) -> dict[str, bytes]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_suites_are_identical_on_two_calls(one: w.World, tmp_path: Path) -> None:
    written = w.write_suites(one, tmp_path / "first", dev=5, test=8)
    w.write_suites(w.World(one.seed), tmp_path / "second", dev=5, test=8)
    files = read(tmp_path / "first")
    assert files == read(tmp_path / "second")
    assert len(written) == 30
    assert len(files) == 60


def test_an_exact_suite_reads_back(one: w.World, tmp_path: Path) -> None:
    items = w.items(one, w.task("mix"), "dev", 5)
    w.write_suite(w.task("mix"), tmp_path, items, name="mix-dev")
    header = tomllib.loads((tmp_path / "suite.toml").read_text(encoding="utf-8"))
    assert header == {
        "name": "mix-dev",
        "license": "CC0-1.0",
        "scorer": "exact",
        "max_tokens": 8,
        "description": "A private operation, then a public one",
        "normalisation": "last-segment",
    }
    lines = (tmp_path / "items.jsonl").read_text(encoding="utf-8").splitlines()
    assert [w.Item(**json.loads(line)) for line in lines] == list(items)
    assert lines[0].startswith('{"answer":"')


def test_a_choice_suite_reads_back(one: w.World, tmp_path: Path) -> None:
    items = w.choice_items(one, "Q0", "dev", 5)
    w.write_choice_suite("Q0", tmp_path, items, name="choice0-dev")
    header = tomllib.loads((tmp_path / "suite.toml").read_text(encoding="utf-8"))
    assert header["scorer"] == "choice"
    assert set(header) == {"name", "license", "scorer", "max_tokens", "description"}
    rows = [json.loads(line) for line in (tmp_path / "items.jsonl").read_bytes().splitlines()]
    assert [row["answer"] for row in rows] == [item.answer for item in items]
    assert [tuple(row["choices"]) for row in rows] == [item.choices for item in items]


def test_a_suite_name_defaults_to_the_task(one: w.World, tmp_path: Path) -> None:
    w.write_suite(w.task("pub1"), tmp_path, w.items(one, w.task("pub1"), "dev", 1))
    header = tomllib.loads((tmp_path / "suite.toml").read_text(encoding="utf-8"))
    assert header["name"] == "pub1"
