"""What of the runner's files is mounted into the executor's container, and where.

Nothing is mounted at its own path: an image may have files there, or make some. All lies below a directory of
the executor's image that no build touches. A file that the build makes is written to a directory that was
made for it, and moved to its place afterwards, so that the build never gets at what lies beside it.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from knarr_action.errors import ActionError

INSIDE = "/knarr/runner"
WORKSPACE = f"{INSIDE}/workspace"
_RESULTS = f"{INSIDE}/results"
_READ = "ro"
_WRITTEN = "rw"


class Mounts:
    """The mounts of one container; a relative path is one of the workspace's."""

    def __init__(self, workspace: Path, scratch: Path) -> None:
        """The scratch directory is an own one of this run."""
        self._workspace = workspace
        self._made = scratch / "results"
        self._volumes: dict[str, tuple[Path, str]] = {WORKSPACE: (workspace, _READ)}
        self._results: list[tuple[Path, Path]] = []

    def read(self, path: str) -> str:
        """A file or directory as the container has it; what is not there is left for the executor to miss."""
        outside = self._outside(path)
        if not outside.exists():
            return path
        if not self._is_in_workspace(outside):
            return self._mount(outside, _READ)
        # Messages have a relative path as it was given.
        return path if _is_relative(path) else _in_workspace(outside, self._workspace)

    def read_with(self, path: str, ending: str) -> str:
        """The same, with the file beside it whose name has this ending, where it is mounted."""
        inside, beside = self.read(path), self._outside(path + ending)
        if inside != path and inside in self._volumes and beside.exists():
            self._volumes[inside + ending] = (beside, _READ)
        return inside

    def written_directory(self, path: str) -> str:
        """A directory that the build adds to, as the container has it; it is made where it is missing."""
        outside = self._outside(path)
        outside.mkdir(parents=True, exist_ok=True)
        if not self._is_in_workspace(outside) or outside == self._workspace:
            return self._mount(outside, _WRITTEN)
        # Where it is in the context, the build sees that it is.
        self._volumes[_in_workspace(outside, self._workspace)] = (outside, _WRITTEN)
        return path if _is_relative(path) else _in_workspace(outside, self._workspace)

    def written_file(self, path: str) -> str:
        """A file that the build makes, as the container has it. Raises ActionError where a directory is."""
        outside = self._outside(path)
        if outside.is_dir():
            raise ActionError(f"{path} is a directory", hint="name a file in it")
        number = str(len(self._results))
        directory = self._made / number
        directory.mkdir(parents=True)
        self._volumes[_RESULTS] = (self._made, _WRITTEN)
        self._results.append((directory / outside.name, outside))
        return f"{_RESULTS}/{number}/{outside.name}"

    def appended_file(self, path: str) -> str:
        """A file that is there, and that the build adds to, as the container has it."""
        return self._mount(self._outside(path), _WRITTEN)

    def options(self) -> Iterator[str]:
        """The options of `docker run`."""
        for inside, (outside, mode) in self._volumes.items():
            yield f"--volume={outside}:{inside}:{mode}"

    @property
    def have_results(self) -> bool:
        """Whether there is something to do after the build."""
        return bool(self._results)

    def deliver(self) -> None:
        """Move the files that the build has made to their places. Raises ActionError."""
        for made, place in self._results:
            if made.exists():
                _move(made, Path(os.path.realpath(place)))

    def _outside(self, path: str) -> Path:
        return Path(os.path.normpath(self._workspace / path))

    def _is_in_workspace(self, outside: Path) -> bool:
        """Also where links lead."""
        return outside.is_relative_to(self._workspace) and outside.resolve().is_relative_to(
            self._workspace.resolve()
        )

    def _mount(self, outside: Path, mode: str) -> str:
        if ":" in str(outside):
            raise ActionError(f"Docker can't mount {outside}", hint="give it a path without colons")
        known = [inside for inside, volume in self._volumes.items() if volume == (outside, mode)]
        if known and known[0] != WORKSPACE:
            return known[0]
        inside = f"{INSIDE}/{len(self._volumes)}/{outside.name or 'root'}"
        self._volumes[inside] = (outside, mode)
        return inside


def _is_relative(path: str) -> bool:
    return not os.path.isabs(path)


def _in_workspace(outside: Path, workspace: Path) -> str:
    return os.path.normpath(f"{WORKSPACE}/{outside.relative_to(workspace)}")


def _move(made: Path, place: Path) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists() and not place.is_file():  # a pipe, say
            shutil.copyfile(made, place)
        else:
            shutil.move(made, place)
    except OSError as error:
        raise ActionError(
            f"can't write {place}: {error.strerror}", hint="name a file that the runner may write"
        ) from error
