"""Names in an archive, made into paths of an `Entry`."""

from knarr.errors import CorruptError
from knarr.layers.entry import OPAQUE_MARKER, WHITEOUT_PREFIX

MAX_PATH_BYTES = 4095
"""PATH_MAX without its NUL: no container can name a file beyond it."""

_AUFS_PREFIX = WHITEOUT_PREFIX + WHITEOUT_PREFIX


def parse_path(raw: bytes) -> str:
    """A path below the root, "" for the root itself.

    Leading "/" and "./" go, and empty or "." components; ".." raises CorruptError wherever it stands, since
    tools disagree about what it means. Bytes that aren't UTF-8 survive as surrogates.
    """
    if not raw or len(raw) > MAX_PATH_BYTES:
        raise CorruptError(
            f"an archive has a name of {len(raw)} bytes" if raw else "an archive has an empty name"
        )
    name = raw.decode("utf-8", "surrogateescape")
    if name.startswith("./"):
        name = name[2:]
    if name.endswith("/"):
        name = name[:-1]
    if "./" in name or "//" in name or name.startswith("/") or name.endswith("."):
        name = "/".join([part for part in name.split("/") if part not in ("", ".")])
        if ".." in name.split("/"):
            raise CorruptError(f'an archive has a name with ".." in it: {show(raw)}')
    return name


def is_aufs_metadata(path: str) -> bool:
    """Whether it is one of the storage driver's own files that old images carry in their root."""
    return path.startswith(_AUFS_PREFIX) and path != OPAQUE_MARKER


def check_whiteout(path: str) -> bool:
    """Whether `path`, which has `.wh.` in it, is a whiteout or an opaque marker (layer.md, "Whiteouts").

    Raises CorruptError for one that hides nothing, "." or "..", or that has something inside.
    """
    *parents, name = path.split("/")
    if any(parent.startswith(WHITEOUT_PREFIX) for parent in parents):
        raise CorruptError(f"a layer puts something inside of a whiteout: {path!r}")
    if name in (WHITEOUT_PREFIX, WHITEOUT_PREFIX + ".", WHITEOUT_PREFIX + ".."):
        raise CorruptError(f"a layer has a whiteout of nothing that can be hidden: {path!r}")
    return name.startswith(WHITEOUT_PREFIX)


def show(raw: bytes) -> str:
    """A name for a message, of bounded length."""
    return repr(raw[:200].decode("utf-8", "backslashreplace"))
