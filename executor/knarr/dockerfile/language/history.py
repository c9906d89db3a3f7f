"""`created_by` of an image's history, in BuildKit's words.

The instruction must be expanded already. ONBUILD leaves no entry. Steps that write files end in `# buildkit`,
WORKDIR excepted.
"""

from collections.abc import Iterable, Sequence

from knarr.dockerfile.language.durations import format_duration
from knarr.dockerfile.language.instructions import (
    Add,
    Copy,
    Env,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Shell,
    Stopsignal,
    User,
    Volume,
)

HISTORY_COMMENT = "buildkit.dockerfile.v0"
"""`comment` of every entry."""

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"} | {
    '"': '\\"',
    "\\": "\\\\",
}


def run_created_by(argv: Sequence[str], args: Sequence[tuple[str, str]]) -> str:
    """RUN; `args` are the declared build arguments (`Scope.history_args`), `argv` has the shell in it."""
    prefix = [f"|{len(args)}", *(f"{key}={value}" for key, value in args)] if args else []
    return " ".join(["RUN", *prefix, *argv, "# buildkit"])


def arg_created_by(declared: Iterable[tuple[str, str | None]]) -> str:
    """ARG; `declared` is what the line added to `Scope.args`."""
    return " ".join(["ARG", *(key if value is None else f"{key}={value}" for key, value in declared)])


def workdir_created_by(path: str) -> str:
    """WORKDIR; `path` is the absolute one."""
    return f"WORKDIR {path}"


def command_created_by(keyword: str, argv: Iterable[str]) -> str:
    """CMD or ENTRYPOINT; `argv` has the shell in it."""
    return f"{keyword} [{' '.join(quote(argument) for argument in argv)}]"


def expose_created_by(ports: Iterable[str]) -> str:
    """EXPOSE; `ports` as `port/protocol`."""
    return f"EXPOSE [{' '.join(ports)}]"


def created_by(instruction: Instruction) -> str:
    """Every instruction whose entry depends on itself alone."""
    match instruction:
        case Copy() | Add():
            return _files_created_by(instruction)
        case Env() | Label():
            return " ".join(
                [instruction.KEYWORD, *(f"{pair.key}={pair.value}" for pair in instruction.pairs)]
            )
        case Healthcheck():
            return _healthcheck_created_by(instruction)
        case Maintainer():
            return f"MAINTAINER {instruction.author}"
        case Shell():
            return f"SHELL [{' '.join(instruction.shell)}]"
        case Stopsignal():
            return f"STOPSIGNAL {instruction.signal}"
        case User():
            return f"USER {instruction.user}"
        case Volume():
            return f"VOLUME [{' '.join(instruction.paths)}]"
        case _:
            raise AssertionError(f"{instruction.KEYWORD} needs more than itself for its history")


def quote(text: str) -> str:
    """Go's `%q`: double quotes, with escapes for what can't be printed."""
    return f'"{"".join(_quote_character(character) for character in text)}"'


def _quote_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _files_created_by(instruction: Copy | Add) -> str:
    words = [instruction.KEYWORD]
    if isinstance(instruction, Copy) and instruction.parents:
        words.append("--parents")
    if instruction.chown:
        words.append(f"--chown={instruction.chown}")
    if instruction.chmod:
        words.append(f"--chmod={instruction.chmod}")
    words.extend(instruction.sources)
    words.extend(f"<<{file.name}" for file in instruction.files)
    return " ".join([*words, instruction.destination, "# buildkit"])


def _healthcheck_created_by(check: Healthcheck) -> str:
    fields = (
        f"Test:[{' '.join(check.test)}]",
        f"Interval:{format_duration(check.interval_ns)}",
        f"Timeout:{format_duration(check.timeout_ns)}",
        f"StartPeriod:{format_duration(check.start_period_ns)}",
        f"StartInterval:{format_duration(check.start_interval_ns)}",
        f"Retries:{check.retries}",
    )
    return f"HEALTHCHECK {{{' '.join(fields)}}}"
