"""Turns Python sources into byte code, with the interpreter that will run it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.image.architecture import Architecture
from scripts.image.downloads import Downloads
from scripts.image.selection import PYTHON


@dataclass(frozen=True, slots=True)
class Compiler:
    """Debian's interpreter for this machine, started from where it was unpacked."""

    architecture: Architecture
    """This machine's; byte code is the same for all."""
    downloads: Downloads

    def compile(self, directory: Path) -> None:
        """Put byte code in the place of every source below the directory: the same bytes each time.

        Raises CalledProcessError where a source can't be compiled.
        """
        # `-b`: beside the source, where it is found when the source is gone. Hashes instead of times:
        # nothing looks at them, but times would differ.
        options = [
            "-q",
            "-b",
            "-o",
            "0",
            "--invalidation-mode=unchecked-hash",
            "-s",
            str(directory),
            "-p",
            "/",
        ]
        subprocess.run(
            [*self._python(), "-IB", "-m", "compileall", *options, str(directory)],
            check=True,
            env={"PYTHONHOME": str(self.downloads.debian / "usr"), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
        )
        for source in directory.rglob("*.py"):
            source.unlink()

    def _python(self) -> list[str]:
        root, triplet = self.downloads.debian, self.architecture.triplet
        libraries = os.pathsep.join(str(root / part / triplet) for part in ("lib", "usr/lib"))
        loader = f"{root}{self.architecture.loader}"
        return [loader, "--library-path", libraries, str(root / "usr/bin" / PYTHON)]
