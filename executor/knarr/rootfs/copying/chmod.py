"""The argument of `--chmod`, octal or symbolic."""

import re
from dataclasses import dataclass

from knarr.errors import DockerfileError

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_READ_WRITE_EXECUTE = {"r": 0o4, "w": 0o2, "x": 0o1}
_SHIFT = {"u": 6, "g": 3, "o": 0}
_SET_ID = {"u": 0o4000, "g": 0o2000}
_UMASK = 0o022
"""What a clause that names nobody ("+w") leaves alone, as chmod(1) does; the usual umask of a builder."""


@dataclass(frozen=True, slots=True)
class _Action:
    who: str
    """Letters of "ugo"."""
    operator: str
    permissions: str
    masked: bool


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A change of permission bits."""

    octal: int | None
    actions: tuple[_Action, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "ModeChange":
        """Read `0755` or `u=rwX,go=rX`. Raises DockerfileError."""
        if re.fullmatch(r"[0-7]+", text) and int(text, 8) <= 0o7777:
            return cls(int(text, 8))
        clauses = [_CLAUSE.fullmatch(part) for part in text.split(",")]
        if not all(clauses):
            raise DockerfileError(
                f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777",
                hint="or symbolic, as chmod takes it: --chmod=u=rwX,go=rX",
            )
        return cls(None, tuple(action for clause in clauses if clause for action in _actions(clause)))

    @property
    def directory_mode(self) -> int:
        """The mode of a directory that COPY makes on the way: the octal one, or else 0755."""
        return 0o755 if self.octal is None else self.octal

    def apply(self, mode: int, *, directory: bool) -> int:
        """The mode that a file or directory of this mode gets."""
        if self.octal is not None:
            return self.octal
        for action in self.actions:
            mode = _applied(action, mode, directory=directory)
        return mode


def _actions(clause: re.Match[str]) -> list[_Action]:
    named = clause[1].replace("a", "ugo")
    return [
        _Action(named or "ugo", operator, permissions, masked=not named)
        for operator, permissions in _ACTION.findall(clause[2])
    ]


def _applied(action: _Action, mode: int, *, directory: bool) -> int:
    bits, affected = 0, 0
    for who in action.who:
        affected |= 0o7 << _SHIFT[who] | _SET_ID.get(who, 0)
        bits |= _granted(action.permissions, mode, directory=directory) << _SHIFT[who]
        if "s" in action.permissions:
            bits |= _SET_ID.get(who, 0)
    if "t" in action.permissions:
        bits |= 0o1000
    if action.masked:
        bits &= ~_UMASK
    if action.operator == "+":
        return mode | bits
    if action.operator == "-":
        return mode & ~bits
    if directory:
        # chmod(1) keeps the set-id bits of a directory unless they are named.
        affected &= 0o777 | (0o6000 if "s" in action.permissions else 0)
    return mode & ~affected | bits


def _granted(permissions: str, mode: int, *, directory: bool) -> int:
    """The three bits that the letters stand for."""
    if permissions in _SHIFT:
        return mode >> _SHIFT[permissions] & 0o7
    bits = 0
    for letter in permissions:
        bits |= _READ_WRITE_EXECUTE.get(letter, 0)
    if "X" in permissions and (directory or mode & 0o111):
        bits |= 0o1
    return bits
