"""The argument of `--chmod`, octal or symbolic."""

import re
from dataclasses import dataclass

from knarr.errors import DockerfileError

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_READ_WRITE_EXECUTE = {"r": 0o4, "w": 0o2, "x": 0o1}
_SHIFT = {"u": 6, "g": 3, "o": 0}
_SET_ID = {"u": 0o4000, "g": 0o2000}
_STICKY = 0o1000


@dataclass(frozen=True, slots=True)
class _Action:
    who: str
    """Letters of "ugo"."""
    operator: str
    permissions: str
    is_named: bool
    """Whether the clause says who; "+w" does not, and means all without a umask, as in BuildKit."""


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
        """The mode of a directory that COPY makes on the way: the octal one's permissions, or else 0755."""
        return 0o755 if self.octal is None else self.octal & 0o777

    def apply(self, mode: int, *, directory: bool) -> int:
        """The mode that a file or directory of this mode gets."""
        if self.octal is not None:
            return self.octal
        original = mode
        for action in self.actions:
            mode = _applied(action, mode, may_execute=directory or bool(original & 0o111))
        return mode


def _actions(clause: re.Match[str]) -> list[_Action]:
    named = clause[1].replace("a", "ugo")
    return [
        _Action(named or "ugo", operator, permissions, is_named=bool(named))
        for operator, permissions in _ACTION.findall(clause[2])
    ]


def _applied(action: _Action, mode: int, *, may_execute: bool) -> int:
    """One action, by the rules of BSD's setmode(3), which BuildKit has."""
    affected, bits = _bits(action, mode, may_execute=may_execute)
    if action.operator == "+":
        return mode | bits
    if action.operator == "-":
        return mode & ~bits
    return mode & ~affected | bits


def _bits(action: _Action, mode: int, *, may_execute: bool) -> tuple[int, int]:
    """What "=" clears, and the bits that the permissions stand for.

    Others have no set-id bits, and no sticky bit; where nobody is named, "t" leaves room for nothing else.
    """
    letters, affected, bits = action.permissions, 0, 0
    copies = letters in _SHIFT
    for who in action.who:
        affected |= 0o7 << _SHIFT[who] | (0 if copies else _SET_ID.get(who, 0))
        bits |= _granted(letters, mode, may_execute=may_execute) << _SHIFT[who]
        if "s" in letters:
            bits |= _SET_ID.get(who, 0)
    if "t" in letters and set(action.who) != {"o"}:
        if not action.is_named:
            return _STICKY, _STICKY
        return affected | _STICKY, bits | _STICKY
    return affected, bits


def _granted(permissions: str, mode: int, *, may_execute: bool) -> int:
    """The three bits that the letters stand for."""
    if permissions in _SHIFT:
        return mode >> _SHIFT[permissions] & 0o7
    bits = 0
    for letter in permissions:
        bits |= _READ_WRITE_EXECUTE.get(letter, 0)
    if "X" in permissions and may_execute:
        bits |= 0o1
    return bits
