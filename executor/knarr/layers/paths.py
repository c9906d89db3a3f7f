"""Paths of entries as text: relative to the root, no ".", no "..", no empty component; "" is the root."""

from collections.abc import Container


def clean(path: str) -> str:
    """A path as a Dockerfile has it ("/a/../b/", "./c") as the path of an entry; ".." stops at the root."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if kept:
                kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return "/".join(kept)


def join(directory: str, name: str) -> str:
    """The path of `name` in `directory`."""
    return f"{directory}/{name}" if directory else name


def parent_of(path: str) -> str:
    """The directory that holds this path; "" for the root too."""
    return path.rpartition("/")[0]


def name_of(path: str) -> str:
    """The last component; "" for the root."""
    return path.rpartition("/")[2]


def sort_key(path: str) -> list[str]:
    """Orders paths so that a directory comes before all that is in it, and siblings by name."""
    return path.split("/")


def is_within(path: str, places: Container[str]) -> bool:
    """Whether a path is one of these places, or lies below one; the root is never."""
    while path and path not in places:
        path = parent_of(path)
    return bool(path)
