"""The working directory of a step in place: where the image has no part in it, no change may be lost."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from knarr.builder.roots.inplace.container import is_own
from knarr.builder.roots.inplace.own_files import open_root, resolve_inside
from knarr.errors import IsolationError
from knarr.layers.entry import WHITEOUT_PREFIX, LayerItem
from knarr.rootfs.changes.scan import Scan, changes
from knarr.rootfs.unpacking.protection import Protection

_MOST_NAMES = 3


@contextmanager
def working_in(
    root: Path, path: str, protection: Protection, hidden: Container[str], made: frozenset[str] = frozenset()
) -> Iterator[None]:
    """A step works in a directory of the root for the length of a block.

    An empty volume becomes the image's for it; `made` in it are mount points of the step. `hidden` are
    protected places where the image has files. Raises IsolationError for a directory that is not the image's
    where the step would miss files of the image, or has changed something when the block ends.
    """
    resolved = resolve_inside(root, path)
    place = protection.covering(resolved)
    if place is None:
        yield
        return
    if protection.lend(resolved, made):
        protection.describe(place)
        yield
        return
    hint = f"mount the volume somewhere else than at /{place}, or choose another WORKDIR"
    refused = protection.refusals.get(place)
    if refused is not None:
        hint += f"; an empty volume would be used, but {refused.reason}"
    reason = _reason_against(place, root / resolved, hidden)
    if refused is not None and refused.is_left_over:
        reason = refused.reason
    if reason is not None:
        raise IsolationError(
            f"a step can't work in {path}: /{place} is this container's own, {reason}", hint=hint
        )
    with _left_alone(root / resolved, hint=hint):
        yield


def _reason_against(place: str, directory: Path, hidden: Container[str]) -> str | None:
    if is_own(place):
        return "not the image's"
    if place in hidden:
        return "and the step would not see the files that the image has there"
    return None if directory.is_dir() else "and has no such directory"


@contextmanager
def _left_alone(directory: Path, *, hint: str) -> Iterator[None]:
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
