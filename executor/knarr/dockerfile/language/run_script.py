"""What a RUN with heredocs executes.

Alone, a heredoc is the script itself: given to SHELL as its text, or, where it begins with `#!`, as a file
that is run. With anything beside it, the line and its bodies are put together again for the shell to read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from knarr.dockerfile.language.instructions import Run
from knarr.dockerfile.syntax.heredocs import parse_heredoc_word

SCRIPT_DIRECTORY = "/dev/pipes"
"""Where a script with `#!` is mounted, read-only and mode 0755."""


@dataclass(frozen=True, slots=True)
class ScriptFile:
    """A file to mount for the step as `SCRIPT_DIRECTORY/name`."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class RunScript:
    """The arguments to execute, and the file they need, if any."""

    argv: tuple[str, ...]
    file: ScriptFile | None = None


def run_script(run: Run, shell: Sequence[str]) -> RunScript:
    """`shell` is the SHELL in effect."""
    if not isinstance(run.command, str):
        return RunScript(run.command)
    if not run.heredocs:
        return RunScript((*shell, run.command))
    if parse_heredoc_word(run.command) is None:
        bodies = "".join(f"\n{heredoc.body}{heredoc.name}" for heredoc in run.heredocs)
        return RunScript((*shell, run.command + bodies))
    script = run.heredocs[0]
    if not script.text.startswith("#!"):
        return RunScript((*shell, script.text))
    return RunScript((*shell, f"{SCRIPT_DIRECTORY}/{script.name}"), ScriptFile(script.name, script.text))
