"""The pages of the documentation and the commands in them.

Convention: a fenced block of language `bash` is what a reader pastes into a shell, in order, from
the root of the repository; the blocks of a page are one session, so variables and files stay.
A command that is shown because it fails ends with a comment such as `# exit 3`. Blocks of another
language are shown and not run. A page names the home it starts from in a comment:

    <!-- start: composed -->      see `tests/docs/test_commands.py`; without one it is empty
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_START = re.compile(r"<!-- start: (\w+) -->")
_EXIT = re.compile(r"#.*\bexit (\d+)\b")
_HEREDOC = re.compile(r"<<\s*'?([A-Z]+)'?")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page as written, and the exit code the page promises."""

    text: str
    exit_code: int

    @property
    def words(self) -> str:
        """The command without a variable it may assign, blanks collapsed."""
        return " ".join(re.sub(r"^\w+=\$\(", "", self.text).split())


def pages() -> list[Path]:
    """Return every page, the generated ones included."""
    return [ROOT / name for name in TOP] + sorted((ROOT / "docs").rglob("*.md"))


def name_of(page: Path) -> str:
    """Return the path of a page below the root."""
    return page.relative_to(ROOT).as_posix()


def start_of(page: Path) -> str:
    """Return the name of the home a page starts from."""
    found = _START.search(page.read_text("utf-8"))
    return found[1] if found else "empty"


def commands(page: Path) -> list[Command]:
    """Return the commands of a page in order."""
    blocks = _FENCE.finditer(page.read_text("utf-8"))
    return [
        command
        for block in blocks
        if block["language"] == "bash"
        for command in split(block["body"])
    ]


def split(block: str) -> Iterator[Command]:
    """Yield the commands of a block: lines, joined by a final backslash or a here-document."""
    lines = iter(block.split("\n"))
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        text = line
        while text.endswith("\\"):
            text += "\n" + next(lines)
        heredoc = _HEREDOC.search(text)
        while heredoc and not text.endswith("\n" + heredoc[1]):
            text += "\n" + next(lines)
        promised = None if heredoc else _EXIT.search(text)
        yield Command(text, int(promised[1]) if promised else 0)
