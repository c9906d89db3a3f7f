"""Every test file on disk has a test that pytest runs."""

import subprocess
import sys

from support.places import REPOSITORY, TESTS


def test_every_test_file_is_collected() -> None:
    """Also one in a folder that pytest passes over by its name, as `build`, or that has no test at all."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-qq",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # One line a file: its path, a colon, the number of its tests.
    collected = {line.rpartition(":")[0] for line in done.stdout.splitlines() if line.startswith("tests/")}
    files = (path.relative_to(REPOSITORY) for path in TESTS.rglob("*.py"))
    on_disk = {str(path) for path in files if path.name.startswith("test_") or path.stem.endswith("_test")}
    assert sorted(on_disk - collected) == [], "pytest leaves these files out"
