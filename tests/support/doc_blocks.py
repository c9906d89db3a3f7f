"""Code blocks of Markdown files: fenced, or indented by four spaces."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = "```"
_LIST = re.compile(r"([-*]|[0-9]+\.) ")


@dataclass(frozen=True)
class Block:
    """A block with the place where it begins, and what its fence says of its language."""

    path: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}:{self.line}"


def blocks(path: Path) -> Iterator[Block]:
    """Every block of the file, in order. Within lists, lines are indented for another reason."""
    lines = [*path.read_text().splitlines(), ""]
    number = 0
    in_list = False
    while number < len(lines):
        line = lines[number]
        start = number + 1
        if line.startswith(_FENCE):
            end = next(n for n in range(start, len(lines)) if lines[n].startswith(_FENCE))
            yield Block(path, start, line.removeprefix(_FENCE), "\n".join(lines[start:end]) + "\n")
            number = end + 1
        elif line.startswith("    ") and not in_list:
            end = start
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            text = textwrap.dedent("\n".join(lines[number:end])).strip("\n")
            yield Block(path, start, "", f"{text}\n")
            number = end
        else:
            if line.strip() and not line.startswith(" "):
                in_list = _LIST.match(line) is not None
            number += 1
