"""Users of an image by name, from its own passwd text.

Nothing here asks the machine that builds (no NSS): the texts come from the image's root file system.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from knarr.errors import ContextError
from knarr.rootfs.tree import Tree, read_bounded

MAX_ID = 2**31 - 1
MAX_DATABASE_BYTES = 10 * 1024 * 1024
"""More than this in /etc/passwd or /etc/group is refused: it is parsed in the builder's memory."""

_UNCHANGED = -1
"""As an owner it means "leave it" to chown(2): what was made is root's."""


@dataclass(frozen=True, slots=True)
class UserSpec:
    """What a process of a RUN step is started as."""

    uid: int
    gid: int
    supplementary_gids: tuple[int, ...]
    home: str


@dataclass(frozen=True, slots=True)
class NamedOwner:
    """What an owner stands for; `unknown` are the names that no file has."""

    uid: int
    gid: int
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _User:
    name: str
    uid: int
    gid: int
    home: str
    has_id: bool


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]
    has_id: bool


def read_user_databases(tree: Tree) -> tuple[str | None, str | None]:
    """The texts of /etc/passwd and /etc/group; None for one that is missing or no regular file.

    Raises ContextError for one larger than ten megabytes.
    """
    passwd, group = (read_bounded(tree, path, MAX_DATABASE_BYTES) for path in ("etc/passwd", "etc/group"))
    return _text(passwd), _text(group)


def resolve_user(spec: str, passwd: str | None, group: str | None) -> UserSpec:
    """Whom USER `spec` means for RUN: `user[:group]`, each a name or a number; "" is the user with uid 0.

    Supplementary groups are those that list the user, and only where no group was named. A number needs no
    line in the files; without one its group is 0. Neither does `root`, which is 0. Raises ContextError for
    an unknown name.
    """
    pair = _numeric_pair(spec)
    if pair is not None:
        found = _find_user("", pair[0], passwd)
        return UserSpec(*pair, (), (found.home if found is not None else "") or "/")
    user_text, group_text = [*spec.split(":"), ""][:2]
    wanted = _number(user_text or "0")
    user = _find_user(user_text, wanted, passwd)
    if user is None and wanted is None:
        if user_text != "root":
            raise _unknown("user", user_text, "/etc/passwd")
        wanted = 0
    uid = user.uid if user is not None else wanted or 0
    home = (user.home if user is not None else "") or "/"
    if group_text:
        return UserSpec(uid, _group_id(group_text, group), (), home)
    if user is None:
        return UserSpec(uid, 0, (), home)
    listed = tuple(found.gid for found in _groups(group) if found.has_id and user.name in found.members)
    return UserSpec(uid, user.gid, listed, home)


def resolve_chown(spec: str, passwd: str | None, group: str | None) -> NamedOwner:
    """Who owns what COPY, ADD and WORKDIR write: `user[:group]` of --chown or USER, each a name or a number.

    A user's number alone stands for the group too; a name alone brings its group from passwd. `root` and
    nothing are 0, on either side of the colon. A user that is in no file is 0 too, a group that is in no file
    leaves the user's. What is no 32-bit number is a name, as in BuildKit.
    """
    user_text, colon, group_text = spec.partition(":")
    unknown: list[str] = []
    uid = gid = 0
    number = _owner_number(user_text)
    if number is not None:
        uid = gid = number
    else:
        user = _find_user(user_text, None, passwd)
        if user is None:
            unknown.append(f"user {user_text}")
        else:
            uid, gid = user.uid, user.gid
    if colon:
        number = _owner_number(group_text)
        found = number if number is not None else _find_group(group_text, group)
        gid = gid if found is None else found
        unknown += [f"group {group_text}"] if found is None else []
    return NamedOwner(uid, gid, tuple(unknown))


def _numeric_pair(spec: str) -> tuple[int, int] | None:
    """Both ids of `user:group`, where both are digits or `root`: no file is asked then."""
    texts = spec.split(":", maxsplit=1)
    if len(texts) < 2 or not all(text == "root" or (text.isascii() and text.isdigit()) for text in texts):
        return None
    uid, gid = (_number("0" if text == "root" else text) for text in texts)
    assert uid is not None
    assert gid is not None
    return uid, gid


def _find_user(name: str, number: int | None, passwd: str | None) -> _User | None:
    """The first line that fits; a number is always a uid, never a name."""
    for user in _users(passwd):
        if (user.has_id and user.uid == number) if number is not None else user.name == name:
            return user
    return None


def _group_id(text: str, group: str | None) -> int:
    number = _number(text)
    found = number if number is not None else _find_group(text, group)
    if found is None:
        if text != "root":
            raise _unknown("group", text, "/etc/group")
        return 0
    return found


def _find_group(name: str, group: str | None) -> int | None:
    return next((found.gid for found in _groups(group) if found.name == name), None)


def _unknown(kind: str, name: str, file: str) -> ContextError:
    return ContextError(
        f"USER: no {kind} {name!r} in {file} of the image",
        hint="create it in a RUN step before, or give its number instead of a name: USER 1000",
    )


def _number(text: str) -> int | None:
    """The id that a process is started with; None for a name. Raises ContextError where out of range."""
    number = _integer(text)
    if number is not None and not 0 <= number <= MAX_ID:
        raise ContextError(f"user or group {text} is out of range: ids go from 0 to {MAX_ID}")
    return number


def _owner_number(text: str) -> int | None:
    """The id of an owner; None for a name. A negative one is what the kernel makes of it."""
    if text in ("", "root"):
        return 0
    number = _integer(text)
    if number is None or not -(2**31) <= number <= MAX_ID:
        return None
    return 0 if number == _UNCHANGED else number % 2**32


def _integer(text: str) -> int | None:
    """The number that a text of digits is, with or without a sign."""
    sign, digits = (text[:1], text[1:]) if text[:1] in ("-", "+") else ("", text)
    if not (digits.isascii() and digits.isdigit()):
        return None
    digits = digits.lstrip("0") or "0"
    number = int(digits) if len(digits) <= 10 else 2**63
    return -number if sign == "-" else number


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "surrogateescape")


def _fields(text: str | None) -> Iterator[list[str]]:
    """The fields of each line, padded to six."""
    for line in (text or "").split("\n"):
        fields = line.strip().split(":")
        if fields[0]:
            yield [*fields, "", "", "", "", ""]


def _users(passwd: str | None) -> Iterator[_User]:
    for fields in _fields(passwd):
        uid, gid = _line_id(fields[2]), _line_id(fields[3])
        yield _User(fields[0], uid or 0, gid or 0, fields[5], has_id=uid is not None)


def _groups(group: str | None) -> Iterator[_Group]:
    for fields in _fields(group):
        gid = _line_id(fields[2])
        members = tuple(name for name in fields[3].split(",") if name)
        if not fields[0].startswith("#"):
            yield _Group(fields[0], gid or 0, members, has_id=gid is not None)


def _line_id(text: str) -> int | None:
    """The id in a line; None where it is none: the line is found by its name alone then, and means 0."""
    number = _integer(text)
    return number if number is not None and 0 <= number <= MAX_ID else None
