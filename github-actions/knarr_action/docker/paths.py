"""Paths in the executor's arguments, changed to those that its container has."""

from collections.abc import Callable, Mapping, Sequence

from knarr_action.docker.mounts import Mounts
from knarr_action.errors import ActionError
from knarr_action.records import read_fields, read_record, write_record

_Change = Callable[[str, Mounts], str]

_ELSEWHERE = ("-", "/dev/")
"""Beginnings of places that are no files of the runner; so is all that has a scheme."""


def with_values(arguments: Sequence[str]) -> Sequence[str]:
    """Flags that name files or variables as `--flag=VALUE`, also of those with a value behind them."""
    joined: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        value = next(rest, None) if argument in _CHANGES or argument == "--build-arg" else None
        joined.append(argument if value is None else f"{argument}={value}")
    return joined


def move_inside(arguments: Sequence[str], mounts: Mounts) -> Sequence[str]:
    """The arguments, in that form, with the paths of the container. Raises ActionError."""
    return [_moved(argument, mounts) for argument in arguments]


def _moved(argument: str, mounts: Mounts) -> str:
    flag, _, value = argument.partition("=")
    change = _CHANGES.get(flag)
    return f"{flag}={change(value, mounts)}" if change and value else argument


def _read(path: str, mounts: Mounts) -> str:
    return path if _is_elsewhere(path) else mounts.read(path)


def _written_file(path: str, mounts: Mounts) -> str:
    return path if _is_elsewhere(path) else mounts.written_file(path)


def _written_directory(path: str, mounts: Mounts) -> str:
    return mounts.written_directory(path)


def _context(value: str, mounts: Mounts) -> str:
    """A directory, `dir://DIRECTORY`, `tar://FILE`."""
    scheme, separator, path = value.rpartition("://")
    if separator and (scheme not in ("dir", "tar") or path == "stdin"):
        return value
    return f"{scheme}{separator}{mounts.read(path)}"


def _named_context(value: str, mounts: Mounts) -> str:
    """`NAME=DIRECTORY`, `NAME=oci-layout://PATH[:TAG][@DIGEST]`."""
    name, equals, place = value.partition("=")
    scheme, separator, path = place.rpartition("://")
    if not separator:
        return f"{name}{equals}{_read(place, mounts)}"
    if scheme != "oci-layout":
        return value
    rest, at, digest = path.partition("@")
    directory, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        directory, colon, tag = rest, "", ""
    return f"{name}={scheme}://{mounts.read(directory)}{colon}{tag}{at}{digest}"


def _dockerfile(path: str, mounts: Mounts) -> str:
    return path if _is_elsewhere(path) else mounts.read_with(path, ".dockerignore")


def _secret(value: str, mounts: Mounts) -> str:
    try:
        record = dict(read_record("--secret", value))
    except ActionError:
        return value  # the executor says what is wrong
    for key in ("src", "source"):
        if record.get(key):
            record[key] = _read(record[key], mounts)
    return write_record(record)


def _behind_name(change: _Change) -> _Change:
    def changed(value: str, mounts: Mounts) -> str:
        name, equals, path = value.partition("=")
        return f"{name}{equals}{change(path, mounts) if path else path}"

    return changed


def _each(value: str, mounts: Mounts) -> str:
    return ",".join(_read(path, mounts) for path in value.split(","))


def _cache(change: _Change) -> _Change:
    def changed(value: str, mounts: Mounts) -> str:
        scheme, colon, path = value.partition(":")
        return f"oci:{change(path, mounts)}" if scheme == "oci" and colon and path else value

    return changed


def _output(value: str, mounts: Mounts) -> str:
    """A record of buildx's, or a directory alone."""
    try:
        if len(read_fields("--output", value)) == 1 and not value.startswith("type="):
            return value if value == "-" else mounts.written_directory(value)
        record = dict(read_record("--output", value))
    except ActionError:
        return value
    if record.get("dest"):
        is_directory = record.get("type") == "local" or record.get("tar", "").lower() in ("false", "0", "f")
        change = _written_directory if is_directory else _written_file
        record["dest"] = change(record["dest"], mounts)
    return write_record(record)


def _is_elsewhere(path: str) -> bool:
    return path == "-" or path.startswith("/dev/") or "://" in path


_CHANGES: Mapping[str, _Change] = {
    **dict.fromkeys(("--context", "-c"), _context),
    **dict.fromkeys(("--dockerfile", "-f"), _dockerfile),
    **dict.fromkeys(("--output", "-o"), _output),
    "--build-context": _named_context,
    "--secret": _secret,
    "--ssh": _behind_name(_each),
    "--registry-certificate": _behind_name(_read),
    "--registry-client-cert": _behind_name(_each),
    "--cache-dir": _read,
    "--cache-from": _cache(_read),
    "--cache-repo": _cache(_written_directory),
    "--mount-cache-dir": _written_directory,
    "--oci-layout-path": _written_directory,
    "--result-file": _behind_name(_written_file),
    **dict.fromkeys(
        (
            "--tar-path",
            "--tarPath",
            "--digest-file",
            "--image-name-with-digest-file",
            "--image-name-tag-with-digest-file",
            "--metadata-file",
            "--dotenv-file",
            "--report",
        ),
        _written_file,
    ),
}
"""Flags whose values have paths of the runner's files."""
