"""Writes the tables of inputs in the wrappers' READMEs, from the wrappers themselves.

    python3 -m scripts.input_tables [--check]

With `--check` it writes nothing, and fails where a README differs. A table stands between the lines
`<!-- inputs -->` and `<!-- end of inputs -->`, one of outputs between those of `outputs`.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

_REPOSITORY = Path(__file__).resolve().parent.parent

Table = Sequence[str]


def main(arguments: Sequence[str]) -> int:
    """Write or check every README; returns the exit status."""
    if arguments not in ([], ["--check"]):
        print("usage: python3 -m scripts.input_tables [--check]", file=sys.stderr)
        return 2
    stale = [path for path, text in readmes() if path.read_text() != text]
    if arguments:
        for path in stale:
            print(f"{path} is not what its wrapper says; hint: make tables", file=sys.stderr)
        return 1 if stale else 0
    for path, text in readmes():
        path.write_text(text)
    return 0


def readmes(repository: Path = _REPOSITORY) -> Iterator[tuple[Path, str]]:
    """Each README with the text that it should have."""
    for name, tables in _WRAPPERS.items():
        source = repository / name
        readme = source.parent / "README.md"
        yield readme, _filled(readme.read_text(), tables(source.read_text()))


def _gitlab(text: str) -> Mapping[str, Table]:
    header = next(yaml.safe_load_all(text))
    return {"inputs": _table(header["spec"]["inputs"], ("input", "type", "default", "meaning"), _gitlab_row)}


def _github(text: str) -> Mapping[str, Table]:
    action = yaml.safe_load(text)
    return {
        "inputs": _table(action["inputs"], ("input", "default", "meaning"), _github_row),
        "outputs": _table(action["outputs"], ("output", "meaning"), lambda it: (it["description"],)),
    }


_WRAPPERS: Mapping[str, Callable[[str], Mapping[str, Table]]] = {
    "ci/gitlab/knarr.yml": _gitlab,
    "github-actions/build/action.yml": _github,
    "github-actions/index/action.yml": _github,
}


def _gitlab_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    kind = entry.get("type", "string")
    if "options" in entry:
        kind = ", ".join(entry["options"])
    elif "regex" in entry:
        kind = f"`{entry['regex']}`"
    return kind, _shown(entry.get("default", "")), entry["description"]


def _github_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    default = "(required)" if entry.get("required") else _shown(entry.get("default", ""))
    return default, entry["description"]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    elif not isinstance(value, str):
        value = yaml.safe_dump(value, default_flow_style=True, width=1000).strip()
    return f"`{value}`" if value else ""


def _table(
    entries: Mapping[str, Any], titles: Sequence[str], row: Callable[[Mapping[str, Any]], tuple[str, ...]]
) -> Table:
    rows = [titles, ["---"] * len(titles), *([f"`{name}`", *row(each)] for name, each in entries.items())]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in rows]


def _filled(text: str, tables: Mapping[str, Table]) -> str:
    for name, table in tables.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
        block = start + "\n".join(table) + "\n" + end
        text, count = pattern.subn(lambda _: block, text)  # noqa: B023
        if count != 1:
            raise ValueError(f"there is no place for the table of {name}")
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
