"""Files that are written about a build, not by it."""

import os
from pathlib import Path

from knarr.linux.whole_files import check_place, os_errors, write_file

_MOST_SUMMARY_BYTES = 1024 * 1024
"""GitHub refuses larger ones whole."""


def prepare_page(path: Path) -> None:
    """Find out before the build whether a page can be written. Raises OutputError."""
    check_place("--report", path)


def write_page(path: Path, text: str) -> None:
    """Write a page; an older one is replaced when the new one is whole. Raises OutputError."""
    with os_errors(f"writing the report {path}"):
        write_file(path, text.encode("utf-8", "backslashreplace"))


def append_job_summary(path: Path, text: str) -> str:
    """Append to the job's summary; what went wrong otherwise, which is no reason to fail a build."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        with path.open("ab") as file:
            if os.fstat(file.fileno()).st_size + len(data) > _MOST_SUMMARY_BYTES:
                return "the job summary has no room for this build"
            file.write(data)
    except OSError as error:
        return f"can't write the job summary {path}: {error.strerror}"
    return ""
