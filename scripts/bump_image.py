"""Changes the name of the executor's image everywhere at once.

    python3 -m scripts.bump_image NAME:TAG[@DIGEST]

`images/IMAGE` holds the name; the wrappers and their documents repeat it, because each is fetched alone.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent
_PLACE = Path("images/IMAGE")
_TREES = ("tasks", "ci/gitlab", "github-actions", "docs", "samples")
_PAGES = ("README.md", "images/README.md")
_KINDS = frozenset({".yaml", ".yml", ".md", ".py", ".json"})
_NAME = re.compile(r"[a-zA-Z0-9.:/_-]+:[a-zA-Z0-9._-]+(@sha256:[0-9a-f]{64})?")


def main(arguments: Sequence[str], repository: Path = _REPOSITORY) -> int:
    """Change the name to the only argument; returns the exit status."""
    if len(arguments) != 1 or not _NAME.fullmatch(arguments[0]):
        print("usage: python3 -m scripts.bump_image NAME:TAG[@DIGEST]", file=sys.stderr)
        return 2
    old, new = image_name(repository), arguments[0]
    for path in wrapper_files(repository):
        text = path.read_text()
        if old in text:
            path.write_text(text.replace(old, new))
            print(path.relative_to(repository))
    (repository / _PLACE).write_text(f"{new}\n")
    return 0


def image_name(repository: Path = _REPOSITORY) -> str:
    """The name with its tag, and its digest once there is one."""
    return (repository / _PLACE).read_text().strip()


def wrapper_files(repository: Path = _REPOSITORY) -> Iterator[Path]:
    """Every file that may name the image."""
    yield from (repository / page for page in _PAGES)
    for tree in _TREES:
        for path in sorted((repository / tree).rglob("*")):
            if path.suffix in _KINDS and path.is_file():
                yield path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
