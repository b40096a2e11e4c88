"""The world of private operations: the language, contributors and tasks of the reference demo.

A prompt names one or two operations and a string of symbols; the answer is the string after each
operation, the results separated by ``|``. Public operations mean the same to everybody. A private
operation has a meaning known to two contributors only, each of whom knows it on 10 of the 16
symbols; in public text it means *echo*, so the base model knows the word and not its meaning.

Rule: everything follows from the world seed, and every input string belongs to exactly one of
train, dev and test, whatever the operation in front of it. Pure except for the two writers at the
end; standard library only.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

Split = Literal["train", "dev", "test"]
Word = tuple[str, ...]

SYMBOLS: Word = tuple("abcdefghijklmnop")
BIJECTIONS: Word = ("P0", "P1", "P2", "P3", "P4", "P5")
REVERSE, SORT = "R", "S"
PUBLIC: Word = (*BIJECTIONS, REVERSE, SORT)
PRIVATE: Word = ("Q0", "Q1", "Q2", "Q3")
ANSWER, SEPARATOR = ">", "|"
PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
VOCABULARY: Word = (PAD, BOS, EOS, UNKNOWN, ANSWER, SEPARATOR, *SYMBOLS, *PUBLIC, *PRIVATE)

NAMES: tuple[Word, ...] = (("ada", "bo"), ("cy", "dee"), ("eve", "fay"), ("gus", "hal"))
ALPHABET_SIZE = 10
SINGLE_LENGTH, CHAIN_LENGTH = 4, 3
LICENSE = "CC0-1.0"
DEV_ITEMS, TEST_ITEMS = 60, 300
PATIENCE = 50_000  # draws in a row without a new item after which a split counts as exhausted
SUITE_SPLITS: tuple[Split, ...] = ("dev", "test")


@dataclass(frozen=True, slots=True)
class Contributor:
    """One holder of private data: an operation, known on some of the symbols."""

    name: str
    operation: str
    symbols: Word


@dataclass(frozen=True, slots=True)
class Task:
    """One of the fifteen tasks; an item draws one operation from each set in `operations`."""

    name: str
    operations: tuple[Word, ...]
    length: int
    description: str
    covered: bool = False

    @property
    def max_tokens(self) -> int:
        """Tokens of a complete answer: every segment, the separators and the end mark."""
        return len(self.operations) * (self.length + 1)


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an `exact` suite; `answer` is the final segment."""

    id: str
    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """One item of a `choice` suite; `answer` is the index of the right choice."""

    id: str
    prompt: str
    choices: Word
    answer: int


@dataclass(frozen=True)
class World:
    """The meaning of every operation and who knows what, all derived from one seed."""

    seed: int
    contributors: tuple[Contributor, ...] = field(init=False)
    _images: dict[str, dict[str, str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Draw the bijections and the contributors' symbols."""
        images = {name: _bijection(self.seed, name) for name in (*BIJECTIONS, *PRIVATE)}
        # A frozen instance can set its derived fields only this way.
        object.__setattr__(self, "_images", images)
        object.__setattr__(self, "contributors", tuple(_contributors(self.seed)))

    def apply(self, operation: str, string: Word) -> Word:
        """Return the string after the operation, private meanings included."""
        if operation == REVERSE:
            return string[::-1]
        if operation == SORT:
            return tuple(sorted(string))
        image = self._images[operation]
        return tuple(image[symbol] for symbol in string)

    def apply_public(self, operation: str, string: Word) -> Word:
        """Return the string after the operation as the public knows it: Q means echo."""
        return string if operation in PRIVATE else self.apply(operation, string)

    def segments(self, operations: Word, string: Word, *, private: bool = True) -> list[Word]:
        """Return the result after each operation in turn."""
        step = self.apply if private else self.apply_public
        results = []
        for operation in operations:
            string = step(operation, string)
            results.append(string)
        return results

    def preimage(self, operation: str, string: Word) -> Word:
        """Return a string that a public operation turns into symbols of `string` only."""
        if operation == REVERSE:
            return string[::-1]
        if operation == SORT:
            return string
        inverse = {image: symbol for symbol, image in self._images[operation].items()}
        return tuple(inverse[symbol] for symbol in string)

    def split_of(self, string: Word) -> Split:
        """Return the one split this input string may appear in: 7 in 10 train, 2 test, 1 dev."""
        return _split_of(self.seed, string)

    def line(self, operations: Word, string: Word, *, private: bool) -> str:
        """Return one line of training text: prompt, scratch pad and end mark."""
        results = self.segments(operations, string, private=private)
        pad = f" {SEPARATOR} ".join(" ".join(result) for result in results)
        return f"{prompt_of(operations, string)} {pad} {EOS}"


TASKS: tuple[Task, ...] = (
    *(
        Task(f"own{k}", ((q,),), SINGLE_LENGTH, f"Private operation {q} on all 16 symbols")
        for k, q in enumerate(PRIVATE)
    ),
    *(
        Task(
            f"cover{k}",
            ((q,),),
            SINGLE_LENGTH,
            f"Private operation {q}, half on the symbols of {NAMES[k][0]}, half of {NAMES[k][1]}",
            covered=True,
        )
        for k, q in enumerate(PRIVATE)
    ),
    *(
        Task(
            f"chain{i}{j}",
            ((PRIVATE[i],), (PRIVATE[j],)),
            CHAIN_LENGTH,
            f"Private operation {PRIVATE[i]}, then {PRIVATE[j]}: a chain nobody is trained on",
        )
        for i, j in ((0, 1), (1, 2), (2, 3), (3, 0))
    ),
    Task("mix", (PRIVATE, PUBLIC), CHAIN_LENGTH, "A private operation, then a public one"),
    Task("pub1", (PUBLIC,), SINGLE_LENGTH, "One public operation"),
    Task("pub2", (PUBLIC, PUBLIC), CHAIN_LENGTH, "Two public operations in turn"),
)


def task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        KeyError: No task has that name.
    """
    return {each.name: each for each in TASKS}[name]


def stream(seed: int, *purpose: str | int) -> random.Random:
    """Return the random stream of one purpose; streams of two purposes are independent."""
    label = json.dumps(["pnode-demo-world/1", seed, *purpose])
    # A seeded stream is the point here; nothing secret is drawn from it.
    return random.Random(int.from_bytes(hashlib.sha256(label.encode()).digest()))  # noqa: S311


def prompt_of(operations: Word, string: Word) -> str:
    """Return the prompt: operations, symbols and the answer mark."""
    return " ".join((*operations, *string, ANSWER))


def public_lines(world: World, rng: random.Random, *, without: str | None = None) -> Iterator[str]:
    """Yield public training text for ever: single operations and chains of two, Q meaning echo.

    Chains of two private operations are left out: nobody, the public included, has seen one.

    Args:
        world: The world.
        rng: The stream to draw from.
        without: A private operation to leave out. A contributor who replays public text leaves
            out its own operation, whose public meaning contradicts what it teaches.
    """
    words = [word for word in (*PUBLIC, *PRIVATE) if word != without]
    while True:
        if rng.random() < 0.5:
            operations: Word = (rng.choice(words),)
        else:
            operations = (rng.choice(words), rng.choice(words))
            if all(word in PRIVATE for word in operations):
                continue
        string = _train_string(world, rng, SYMBOLS, operations)
        if string is not None:
            yield world.line(operations, string, private=False)


def private_lines(world: World, contributor: Contributor, rng: random.Random) -> Iterator[str]:
    """Yield a contributor's training text for ever: half Q, a quarter Q then P, a quarter P then Q.

    The private operation is only ever applied to the contributor's own symbols.
    """
    own = contributor.operation
    while True:
        draw = rng.random()
        if draw < 0.5:
            operations: Word = (own,)
        elif draw < 0.75:
            operations = (own, rng.choice(PUBLIC))
        else:
            operations = (rng.choice(PUBLIC), own)
        string = _train_string(world, rng, contributor.symbols, operations)
        if string is not None:
            yield world.line(operations, string, private=True)


def items(world: World, of: Task, split: Split, count: int) -> tuple[Item, ...]:
    """Return `count` items of a task with no prompt twice.

    Ids of cover tasks name the contributor whose symbols the item uses.

    Raises:
        ValueError: `split` is train, or the split seems to hold fewer prompts.
    """
    if split == "train":
        raise ValueError("items are drawn for dev and test; training text comes as lines")
    rng = stream(world.seed, "items", of.name, split)
    drawn: list[Item] = []
    seen: set[str] = set()
    misses = 0
    while len(drawn) < count:
        group, symbols = _alphabet(world, of, len(drawn), count)
        operations = tuple(rng.choice(words) for words in of.operations)
        string = _draw(rng, symbols, of.length)
        prompt = prompt_of(operations, string)
        if world.split_of(string) != split or prompt in seen:
            misses += 1
            if misses > PATIENCE:
                raise ValueError(f"task {of.name}: {split} has fewer than {count} prompts")
            continue
        misses = 0
        seen.add(prompt)
        answer = " ".join(world.segments(operations, string)[-1])
        drawn.append(Item(f"{group}-{split}-{len(drawn):04d}", prompt, answer))
    return tuple(drawn)


def choice_items(world: World, operation: str, split: Split, count: int) -> tuple[ChoiceItem, ...]:
    """Return a four-way multiple-choice version of a private operation.

    The wrong choices are the echo, which the base prefers, and the results of other operations.
    """
    rng = stream(world.seed, "choices", operation, split)
    chosen: list[ChoiceItem] = []
    source = Task(f"choice-{operation}", ((operation,),), SINGLE_LENGTH, "")
    for item in items(world, source, split, count):
        string = tuple(item.prompt.split()[1:-1])
        choices = [item.answer]
        others = rng.sample([w for w in (*PRIVATE, *BIJECTIONS) if w != operation], k=9)
        for other in (string, *(world.apply(word, string) for word in others)):
            text = " ".join(other)
            if text not in choices and len(choices) < 4:
                choices.append(text)
        rng.shuffle(choices)
        answer = choices.index(item.answer)
        chosen.append(ChoiceItem(item.id, item.prompt, tuple(choices), answer))
    return tuple(chosen)


def write_suite(
    of: Task, directory: Path, contents: Sequence[Item], *, name: str | None = None
) -> Path:
    """Write one `exact` suite directory: `suite.toml` and `items.jsonl`."""
    header = {
        "name": name or of.name,
        "license": LICENSE,
        "scorer": "exact",
        "max_tokens": of.max_tokens,
        "description": of.description,
        "normalisation": "last-segment",
    }
    rows = [{"id": item.id, "prompt": item.prompt, "answer": item.answer} for item in contents]
    return _write(directory, header, rows)


def write_choice_suite(
    operation: str, directory: Path, contents: Sequence[ChoiceItem], *, name: str
) -> Path:
    """Write one `choice` suite directory: `suite.toml` and `items.jsonl`."""
    header = {
        "name": name,
        "license": LICENSE,
        "scorer": "choice",
        "max_tokens": SINGLE_LENGTH + 1,
        "description": f"Private operation {operation}, four choices",
    }
    rows = [
        {"id": item.id, "prompt": item.prompt, "choices": item.choices, "answer": item.answer}
        for item in contents
    ]
    return _write(directory, header, rows)


def write_suites(
    world: World,
    directory: Path,
    *,
    dev: int = DEV_ITEMS,
    test: int = TEST_ITEMS,
    tasks: Sequence[Task] = TASKS,
) -> dict[tuple[str, Split], Path]:
    """Write the dev and test suites of every task as `directory/SPLIT/TASK`.

    Returns:
        The suite directory of each (task name, split).
    """
    counts: dict[Split, int] = {"dev": dev, "test": test}
    written: dict[tuple[str, Split], Path] = {}
    for split in SUITE_SPLITS:
        for each in tasks:
            contents = items(world, each, split, counts[split])
            target = directory / split / each.name
            name = f"{each.name}-{split}"
            written[each.name, split] = write_suite(each, target, contents, name=name)
    return written


def _bijection(seed: int, operation: str) -> dict[str, str]:
    """Draw the meaning of one operation."""
    images = list(SYMBOLS)
    stream(seed, "bijection", operation).shuffle(images)
    return dict(zip(SYMBOLS, images, strict=True))


def _contributors(seed: int) -> Iterator[Contributor]:
    """Draw the symbols of each pair: 10 each, 4 in common, all 16 between them."""
    for operation, (first, second) in zip(PRIVATE, NAMES, strict=True):
        order = list(SYMBOLS)
        stream(seed, "symbols", operation).shuffle(order)
        yield Contributor(first, operation, tuple(sorted(order[:ALPHABET_SIZE])))
        yield Contributor(second, operation, tuple(sorted(order[-ALPHABET_SIZE:])))


@lru_cache(maxsize=1 << 17)
def _split_of(seed: int, string: Word) -> Split:
    """Assign a string by its digest, so that no list of strings has to be kept or compared."""
    label = json.dumps(["pnode-demo-split/1", seed, *string])
    bucket = int.from_bytes(hashlib.sha256(label.encode()).digest()[:8]) % 10
    if bucket == 0:
        return "dev"
    return "test" if bucket < 3 else "train"


def _draw(rng: random.Random, symbols: Word, length: int) -> Word:
    return tuple(rng.choice(symbols) for _ in range(length))


def _train_string(world: World, rng: random.Random, symbols: Word, operations: Word) -> Word | None:
    """Draw an input string for training, or None when it belongs to dev or test.

    In a chain that ends with a private operation the drawn symbols are what that operation sees,
    so the input is their preimage under the public operation in front of it.
    """
    chained = len(operations) > 1
    string = _draw(rng, symbols, CHAIN_LENGTH if chained else SINGLE_LENGTH)
    if chained and operations[-1] in PRIVATE:
        string = world.preimage(operations[0], string)
    return string if world.split_of(string) == "train" else None


def _alphabet(world: World, of: Task, drawn: int, count: int) -> tuple[str, Word]:
    """Return the id prefix and the symbols of the next item: first half one contributor's."""
    if not of.covered:
        return of.name, SYMBOLS
    pair = [each for each in world.contributors if each.operation == of.operations[0][0]]
    contributor = pair[0] if 2 * drawn < count else pair[1]
    return f"{of.name}-{contributor.name}", contributor.symbols


def _write(
    directory: Path, header: Mapping[str, object], rows: Sequence[Mapping[str, object]]
) -> Path:
    """Write both files; a JSON string of plain text is also a TOML basic string."""
    directory.mkdir(parents=True, exist_ok=True)
    toml = "".join(f"{key} = {json.dumps(value)}\n" for key, value in header.items())
    lines = "".join(f"{_canonical(row)}\n" for row in rows)
    (directory / "suite.toml").write_bytes(toml.encode())
    (directory / "items.jsonl").write_bytes(lines.encode())
    return directory


def _canonical(row: Mapping[str, object]) -> str:
    """Return canonical JSON; keys and values are ASCII text and integers, so this is RFC 8785."""
    return json.dumps(row, sort_keys=True, separators=(",", ":"))
