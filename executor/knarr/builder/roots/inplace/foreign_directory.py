"""A step in a directory that is no part of the image: what it makes there must not be lost in silence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from knarr.builder.roots.inplace.own_files import open_root
from knarr.errors import IsolationError
from knarr.layers.entry import WHITEOUT_PREFIX, LayerItem
from knarr.rootfs.scan import Scan, changes

_MOST_NAMES = 3


@contextmanager
def left_alone(directory: Path, *, hint: str) -> Iterator[None]:
    """Raises IsolationError at the end of the block where something has changed below `directory`."""
    with open_root(directory) as descriptor:
        before = Scan.take(descriptor)
        yield
        changed = changes(before, descriptor, Scan.take(descriptor))
    if changed:
        raise IsolationError(
            f"the step has changed {_names(changed)} in {directory}, which is this container's own: "
            "the image would go without",
            hint=hint,
        )


def _names(changed: list[LayerItem]) -> str:
    paths = [item.entry.path for item in changed]
    # Directories above a change are in the list, before what they hold.
    topmost = [
        each
        for each, following in zip(paths, [*paths[1:], ""], strict=True)
        if not following.startswith(f"{each}/")
    ]
    names = [each.replace(WHITEOUT_PREFIX, "") for each in topmost]
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
