"""What stays as it is, whatever an image has in its place."""

import pytest

from knarr.rootfs.paths import Fate
from knarr.rootfs.unpacking.protection import ProtectedError, Protection


def test_a_path_is_protected_with_all_below_it() -> None:
    protection = Protection({"etc/hosts", "data/cache"})
    assert protection.covering("data/cache/deep/file") == "data/cache"
    assert protection.covers("etc/hosts")
    assert not protection.covers("etc/hosts2")
    assert not protection.covers("data")
    assert not protection.covers("")
    with pytest.raises(ProtectedError) as raised:
        protection.check("data/cache/x")
    assert raised.value.path == "data/cache/x"


def test_clearing_goes_around_it() -> None:
    protection = Protection({"data/cache"}, pinned=("work/here",))
    assert protection.fate("data/cache") is Fate.KEEP
    assert protection.fate("data/cache/x") is Fate.KEEP
    assert protection.fate("data") is Fate.DESCEND
    assert protection.fate("data/other") is Fate.REMOVE
    assert protection.fate("work") is Fate.DESCEND
    assert protection.fate("work/here") is Fate.DESCEND
    assert protection.fate("work/here/file") is Fate.REMOVE


def test_a_directory_above_it_is_the_images_only_when_a_layer_says_so() -> None:
    protection = Protection({"a/b/c", "d/e"})
    assert protection.excludes("a")
    assert not protection.leaves_out("a")
    protection.describe("a/b/file")
    assert not protection.excludes("a")
    assert not protection.excludes("a/b")
    assert protection.excludes("a/b/c")
    assert protection.excludes("d")


@pytest.mark.parametrize(("hidden", "left"), [("a", {"d"}), ("", set()), ("a/b", {"a", "d"})])
def test_a_whiteout_makes_it_a_ghost_again(hidden: str, left: set[str]) -> None:
    protection = Protection({"a/b/c", "d/e"})
    for path in ("a/b", "d"):
        protection.describe(path)
    protection.hide(hidden)
    assert {path for path in ("a", "a/b", "d") if not protection.is_ghost(path)} == left


def test_a_whiteout_leaves_what_its_own_layer_has() -> None:
    protection = Protection({"a/b/c"})
    protection.describe("a/b")
    protection.hide("", own={"a"})
    assert not protection.is_ghost("a")
    assert protection.is_ghost("a/b")


def test_something_else_in_its_place_hides_the_directory() -> None:
    protection = Protection({"etc/hosts"})
    protection.describe("etc")
    protection.block("etc")
    assert protection.leaves_out("etc")
    assert protection.leaves_out("etc/passwd")
    assert not protection.leaves_out("opt")
    protection.unblock("etc")
    assert not protection.leaves_out("etc/passwd")
