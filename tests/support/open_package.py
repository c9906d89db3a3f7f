"""A copy of the package that every user of the machine may read, wherever the checkout lies."""

import atexit
import compileall
import shutil
import stat
import tempfile
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

from support.knarr_cli import EXECUTOR


@cache
def open_package() -> Path:
    """The directory, as PYTHONPATH has it, of the package and the libraries that it needs.

    It is made once in a process, and removed when the process ends.
    """
    directory = Path(tempfile.mkdtemp(prefix="knarr-package-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    shutil.copytree(EXECUTOR / "knarr", directory / "knarr", ignore=shutil.ignore_patterns("__pycache__"))
    for name in _libraries("knarr") - {"knarr"}:
        _copy_distribution(name, directory)
    compileall.compile_dir(directory, quiet=2)  # else each build would compile the package
    for path in (directory, *directory.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | (0o555 if path.is_dir() else 0o444))
    return directory


def _libraries(name: str) -> set[str]:
    """The distributions that one needs at run time, with itself."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            requirements = map(Requirement, distribution(current).requires or ())
            waiting += [
                each.name
                for each in requirements
                if each.marker is None or each.marker.evaluate({"extra": ""})
            ]
    return found


def _copy_distribution(name: str, directory: Path) -> None:
    for file in distribution(name).files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:  # scripts lie beside the libraries
            target = directory / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), target)
