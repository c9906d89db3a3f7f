"""Workflow commands of GitHub Actions: folds, notes at lines of a file."""

import os.path
from collections.abc import Mapping

from knarr.progress import CheckFound, Failed
from knarr.report.text import visible


def command(name: str, text: str, properties: Mapping[str, str] | None = None) -> str:
    """`::name key=value,...::text`, without a newline at its end."""
    given = ",".join(f"{key}={_property(value)}" for key, value in (properties or {}).items())
    return f"::{name}{' ' if given else ''}{given}::{_data(text)}"


def check_note(found: CheckFound, path: str) -> str:
    """The warning beside the line that a build check is about; `path` is relative to the repository."""
    properties = {
        "file": path,
        "line": str(found.line),
        "endLine": str(found.end_line),
        "title": found.rule,
    }
    return command("warning", visible(found.detail), properties)


def failure_note(failure: Failed, path: str, line: int) -> str:
    """The error that ended the build, beside its line where there is one."""
    place = {"file": path, "line": str(line)} if path and line else {}
    hint = f"\nhint: {failure.hint}" if failure.hint else ""
    return command("error", visible(failure.message + hint), {**place, "title": "knarr build failed"})


def inert(text: str) -> str:
    """A text that is no command of the old form, `##[name]`, which counts in the midst of a line too."""
    return text.replace("##[", "##\u200b[")


def path_in_repository(path: str, workspace: str) -> str:
    """The path of a file as notes have it; the whole one where it lies outside."""
    if not path or not workspace:
        return path
    relative = os.path.relpath(path, workspace)
    return path if relative.startswith("..") else relative


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
