"""Users of an image by name, from its own passwd text.

Nothing here asks the machine that builds (no NSS): the texts come from the image's root file system.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from knarr.errors import ContextError
from knarr.rootfs.tree import Tree, read_bounded

MAX_ID = 2**31 - 1
MAX_DATABASE_BYTES = 1024 * 1024
"""More than this in /etc/passwd or /etc/group is refused: it is parsed in the builder's memory."""


@dataclass(frozen=True, slots=True)
class UserSpec:
    """What a process of a RUN step is started as."""

    uid: int
    gid: int
    supplementary_gids: tuple[int, ...]
    home: str


@dataclass(frozen=True, slots=True)
class NamedOwner:
    """What --chown stands for; `unknown` are the names that no file has."""

    uid: int
    gid: int
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _User:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def read_user_databases(tree: Tree) -> tuple[str | None, str | None]:
    """The texts of /etc/passwd and /etc/group; None for one that is missing or no regular file.

    Raises ContextError for one larger than a megabyte.
    """
    passwd, group = (read_bounded(tree, path, MAX_DATABASE_BYTES) for path in ("etc/passwd", "etc/group"))
    return _text(passwd), _text(group)


def resolve_user(spec: str, passwd: str | None, group: str | None) -> UserSpec:
    """Whom USER `spec` means for RUN: `user[:group]`, each a name or a number; "" is the user with uid 0.

    Supplementary groups are those that list the user, and only where no group was named. A number needs no
    line in the files; without one its group is 0. Raises ContextError for an unknown name.
    """
    user_text, _, group_text = spec.partition(":")
    wanted = _number(user_text or "0")
    user = _find_user(user_text, wanted, passwd)
    if user is None and wanted is None:
        raise _unknown("user", user_text, "/etc/passwd")
    uid = user.uid if user is not None else wanted or 0
    home = (user.home if user is not None else "") or "/"
    if group_text:
        return UserSpec(uid, _group_id(group_text, group), (), home)
    if user is None:
        return UserSpec(uid, 0, (), home)
    listed = tuple(found.gid for found in _groups(group) if user.name in found.members)
    return UserSpec(uid, user.gid, listed, home)


def resolve_chown(spec: str, passwd: str | None, group: str | None) -> NamedOwner:
    """The owner that `--chown=spec` means: `user[:group]`, each a name or a number.

    A user's number alone stands for the group too; a name alone brings its group from passwd. `root`,
    nothing, and a user that is in no file are 0; a group that is in no file leaves the user's: BuildKit's
    code, whatever its documentation says of those.
    """
    user_text, _, group_text = spec.partition(":")
    unknown: list[str] = []
    uid = gid = 0
    number = _number(user_text)
    if number is not None:
        uid = gid = number
    elif user_text not in ("", "root"):
        user = _find_user(user_text, None, passwd)
        if user is None:
            unknown.append(f"user {user_text}")
        else:
            uid, gid = user.uid, user.gid
    if group_text == "root":
        gid = 0
    elif group_text:
        found = _find_group(group_text, group)
        gid = gid if found is None else found
        unknown += [f"group {group_text}"] if found is None else []
    return NamedOwner(uid, gid, tuple(unknown))


def _find_user(name: str, number: int | None, passwd: str | None) -> _User | None:
    """The first line that fits; a number is always a uid, never a name."""
    for user in _users(passwd):
        if user.uid == number if number is not None else user.name == name:
            return user
    return None


def _group_id(text: str, group: str | None) -> int:
    found = _find_group(text, group)
    if found is None:
        raise _unknown("group", text, "/etc/group")
    return found


def _find_group(text: str, group: str | None) -> int | None:
    number = _number(text)
    if number is not None:
        return number
    return next((found.gid for found in _groups(group) if found.name == text), None)


def _unknown(kind: str, name: str, file: str) -> ContextError:
    return ContextError(
        f"USER: no {kind} {name!r} in {file} of the image",
        hint="create it in a RUN step before, or give its number instead of a name: USER 1000",
    )


def _number(text: str) -> int | None:
    """The id that a text of digits is; None for a name. Raises ContextError where it is out of range."""
    sign, digits = (text[:1], text[1:]) if text[:1] in ("-", "+") else ("", text)
    if not (digits.isascii() and digits.isdigit()):
        return None
    if sign == "-" or len(digits) > 10 or int(digits) > MAX_ID:
        raise ContextError(f"user or group {text} is out of range: ids go from 0 to {MAX_ID}")
    return int(digits)


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "surrogateescape")


def _fields(text: str | None, least: int) -> Iterator[list[str]]:
    """The fields of each line that has enough of them; other lines mean nothing."""
    for line in (text or "").split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= least and fields[0]:
            yield fields


def _users(passwd: str | None) -> Iterator[_User]:
    for fields in _fields(passwd, 4):
        uid, gid = _line_id(fields[2]), _line_id(fields[3])
        if uid is not None and gid is not None:
            yield _User(fields[0], uid, gid, fields[5] if len(fields) > 5 else "")


def _groups(group: str | None) -> Iterator[_Group]:
    for fields in _fields(group, 3):
        gid = _line_id(fields[2])
        if gid is not None:
            members = fields[3].split(",") if len(fields) > 3 else []
            yield _Group(fields[0], gid, tuple(name for name in members if name))


def _line_id(text: str) -> int | None:
    """The id in a line; None where it is none, so that the line is passed over and never read as root's."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return int(text) if int(text) <= MAX_ID else None
