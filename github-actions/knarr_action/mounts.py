"""What of the runner's files a container needs, found in the executor's arguments."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

Paths = Callable[[str], Iterator[str]]


def _whole(value: str) -> Iterator[str]:
    yield value


def _behind_name(value: str) -> Iterator[str]:
    """`NAME=PATH`; other things have a scheme."""
    path = value.partition("=")[2]
    if "://" not in path:
        yield path


def _pair(value: str) -> Iterator[str]:
    yield from value.partition("=")[2].split(",")


def _source(value: str) -> Iterator[str]:
    for entry in value.split(","):
        key, _, path = entry.partition("=")
        if key in ("src", "source"):
            yield path


def _layout(value: str) -> Iterator[str]:
    if value.startswith("oci:"):
        yield value[len("oci:") :]


_READ: Mapping[str, Paths] = {
    "--context": _whole,
    "--dockerfile": _whole,
    "--secret": _source,
    "--build-context": _behind_name,
    "--ssh": _behind_name,
    "--registry-certificate": _behind_name,
    "--registry-client-cert": _pair,
}
_WRITTEN_FILE: Mapping[str, Paths] = {
    "--tar-path": _whole,
    "--oci-layout-path": _whole,
    "--digest-file": _whole,
    "--image-name-with-digest-file": _whole,
    "--image-name-tag-with-digest-file": _whole,
    "--metadata-file": _whole,
    "--dotenv-file": _whole,
    "--report": _whole,
    "--result-file": _behind_name,
}
_WRITTEN_DIRECTORY: Mapping[str, Paths] = {"--cache-repo": _layout, "--mount-cache-dir": _whole}


def volumes(arguments: Sequence[str], workspace: Path) -> Mapping[Path, str]:
    """Paths of the runner with `ro` or `rw`; each is at the same path inside.

    The workspace is read-only, but for the directories that the build writes to, which are made. A value
    counts in the form `--flag=value`.
    """
    found = {workspace: "ro"}
    for path in _named(arguments, _READ, workspace):
        if path.exists() and not path.is_relative_to(workspace):
            found[path] = "ro"
    written = [path.parent for path in _named(arguments, _WRITTEN_FILE, workspace)]
    for path in (*written, *_named(arguments, _WRITTEN_DIRECTORY, workspace)):
        path.mkdir(parents=True, exist_ok=True)
        found[path] = "rw"
    return found


def _named(arguments: Sequence[str], table: Mapping[str, Paths], workspace: Path) -> Iterator[Path]:
    for argument in arguments:
        flag, _, value = argument.partition("=")
        for path in table.get(flag, _nothing)(value):
            if path and not path.startswith("/dev/") and "://" not in path:
                yield Path(os.path.normpath(workspace / path))


def _nothing(_value: str) -> Iterator[str]:
    yield from ()
