"""Signal names that STOPSIGNAL accepts on Linux.

`SIGTERM`, `term`, `9`, `RTMIN+3`: with or without SIG, in any case, or a number. The image keeps the text as
written.
"""

from knarr.dockerfile.syntax.suggest import wrong
from knarr.dockerfile.syntax.text import parse_index

_NAMES = frozenset(
    (
        *(
            "ABRT",
            "ALRM",
            "BUS",
            "CHLD",
            "CLD",
            "CONT",
            "FPE",
            "HUP",
            "ILL",
            "INT",
            "IO",
            "IOT",
            "KILL",
            "PIPE",
        ),
        *("POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN"),
        *("TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX"),
    )
)
_REAL_TIME = frozenset(
    [f"RTMIN+{offset}" for offset in range(1, 16)] + [f"RTMAX-{offset}" for offset in range(1, 15)]
)


def check_signal(text: str) -> None:
    """Raises DockerfileError (without a location) for what is no signal."""
    number = parse_index(text)
    if number is not None:
        if number != 0:
            return
    elif text.upper().removeprefix("SIG") in _NAMES | _REAL_TIME:
        return
    raise wrong(f"invalid signal: {text}", text, (f"SIG{name}" for name in _NAMES))
