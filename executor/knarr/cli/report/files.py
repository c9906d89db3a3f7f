"""Files that are written about a build, not by it."""

import os
from pathlib import Path

from knarr.errors import OutputError

_MOST_SUMMARY_BYTES = 1024 * 1024
"""GitHub refuses larger ones whole."""


def prepare_page(path: Path) -> None:
    """Make the directory of a page to be. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"can't write the report {path}: {error.strerror}") from error
    if path.is_dir():
        raise OutputError(f"can't write the report {path}: it is a directory")


def write_page(path: Path, text: str) -> None:
    """Write a page; an older one is replaced when the new one is whole. Raises OutputError."""
    # Devices and pipes can't be replaced.
    target = path.with_name(f".{path.name}.part") if path.is_file() or not path.exists() else path
    try:
        target.write_text(text, encoding="utf-8", errors="backslashreplace")
        if target != path:
            os.replace(target, path)
    except OSError as error:
        raise OutputError(f"can't write the report {path}: {error.strerror}") from error


def append_job_summary(path: Path, text: str) -> str:
    """Append to the job's summary; what went wrong otherwise, which is no reason to fail a build."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        with path.open("ab") as file:
            if file.tell() + len(data) > _MOST_SUMMARY_BYTES:
                return "the job summary has no room for this build"
            file.write(data)
    except OSError as error:
        return f"can't write the job summary {path}: {error.strerror}"
    return ""
