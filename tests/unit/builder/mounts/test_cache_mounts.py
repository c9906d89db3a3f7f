"""Directories of caches: who gets which one, when it is filled."""

import dataclasses
import fcntl
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from knarr.builder.mounts.cache_mounts import CacheMounts
from knarr.dockerfile.language.mount import Mount, MountType, Sharing
from knarr.errors import ContextError, OutputError
from knarr.progress import Event, Note, Silent


def mount(id_: str = "a", sharing: Sharing = Sharing.SHARED) -> Mount:
    return Mount(type=MountType.CACHE, target="/cache", id=id_, sharing=sharing)


def caches(place: Path, namespace: str = "", *, can_share: bool = True) -> CacheMounts:
    return CacheMounts(place / "caches", namespace, Silent(), can_share=can_share)


def make(path: Path) -> None:
    path.mkdir()
    (path / "first").touch()


def never(path: Path) -> None:
    raise AssertionError(f"{path} is filled already")


def test_a_cache_is_filled_once_and_kept(tmp_path: Path) -> None:
    with caches(tmp_path).open(mount(), make) as directory:
        (directory / "more").touch()
    with caches(tmp_path).open(mount(), never) as directory:
        assert sorted(os.listdir(directory)) == ["first", "more"]


def test_names_lead_nowhere_else_and_differ_by_namespace(tmp_path: Path) -> None:
    evil = mount("../../etc")
    name = caches(tmp_path).name(evil)
    assert len(name) == 64
    assert name != caches(tmp_path, "other").name(evil)
    with caches(tmp_path).open(evil, make) as directory:
        assert directory == tmp_path / "caches" / name / "data"


def test_a_cache_is_one_by_id_owner_mode_and_source(tmp_path: Path) -> None:
    def named(**facts: Any) -> str:
        return caches(tmp_path).name(dataclasses.replace(mount(), **facts))

    owned = {"has_owner": True, "mode": 0o755}
    others = [
        named(),
        named(id="b"),
        named(**owned),
        named(**{**owned, "mode": 0o700}),
        named(**owned, uid=1),
        named(**owned, gid=1),
        named(from_="base"),
        named(from_="other"),
        named(from_="base", source="/x"),
    ]
    assert len(set(others)) == len(others)
    assert named(**owned, from_="base") == named(**owned), "it starts empty"
    assert named(target="/elsewhere", sharing=Sharing.LOCKED, read_only=True) == named()


def test_a_filling_that_failed_is_made_anew(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.mkdir()
        (path / "half").touch()
        raise ContextError("half")

    with pytest.raises(ContextError), caches(tmp_path).open(mount(), fail):
        pass
    with caches(tmp_path).open(mount(), make) as directory:
        assert os.listdir(directory) == ["first"]


def test_shared_caches_are_used_together_and_private_ones_apart(tmp_path: Path) -> None:
    for sharing, together in ((Sharing.SHARED, True), (Sharing.PRIVATE, False)):
        with ExitStack() as exits:
            wanted = mount(sharing.value, sharing)
            one, other = (exits.enter_context(caches(tmp_path).open(wanted, make)) for _ in range(2))
            assert (one == other) is together


class Releasing:
    """Tells what it is waited for, then ends the wait."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.held = ExitStack()

    def report(self, event: Event) -> None:
        assert isinstance(event, Note)
        self.notes.append(event.text)
        self.held.close()


@pytest.mark.parametrize(
    ("sharing", "can_share", "waits"),
    [
        (Sharing.SHARED, True, False),
        (Sharing.SHARED, False, True),
        (Sharing.LOCKED, True, True),
    ],
)
def test_who_waits_for_another_build(
    sharing: Sharing,
    can_share: bool,  # noqa: FBT001
    waits: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    reporter = Releasing()
    root = tmp_path / "caches"
    one, other = (CacheMounts(root, "", reporter, can_share=can_share) for _ in range(2))
    wanted = mount("a", sharing)
    reporter.held.enter_context(one.open(wanted, make))
    with other.open(wanted, never):
        pass
    assert reporter.notes == (["waiting for the cache a, which another build uses"] if waits else [])
    reporter.held.close()


def test_a_cache_is_locked_only_while_it_is_used(tmp_path: Path) -> None:
    with caches(tmp_path).open(mount(), make) as directory:
        lock = os.open(directory.parent / "lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lock)


def test_a_directory_that_is_none_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "caches").touch()
    with pytest.raises(OutputError, match=r"can't use the cache mount a in .*/caches") as raised:
        with caches(tmp_path).open(mount(), make):
            pass
    assert raised.value.hint is not None
    assert "--mount-cache-dir" in raised.value.hint
