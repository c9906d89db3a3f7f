"""A directory as a source: where it is mounted from."""

import os
from pathlib import Path

import pytest

from knarr.builder.sources.local_source import LocalSource
from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.errors import ContextError


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in ("a/keep", "a/drop", "b/keep", "c/d/keep"):
        path = tmp_path / "context" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "context/a/link").symlink_to("keep")
    (tmp_path / "context/a/other").hardlink_to(tmp_path / "context/a/keep")
    return tmp_path / "context"


def source(context: Path, ignore: str = "") -> LocalSource:
    return LocalSource(context, IgnorePatterns.parse(ignore, file=".dockerignore"), context.parent / "copies")


def test_nothing_is_copied_without_need(context: Path) -> None:
    assert source(context).locate("/a/../b") == (context, "b")
    assert source(context, "a/drop\n").locate("/b") == (context, "b")
    assert source(context, "a/drop\n").locate("/a/keep") == (context, "a/keep")
    assert source(context, "a/drop\n").locate("a/link") == (context, "a/keep")
    assert not (context.parent / "copies").exists()


def test_copy_without_what_is_excluded(context: Path) -> None:
    local = source(context, "a/drop\nc\n!c/d/keep\n")
    copy, path = local.locate("/a")
    assert path == ""
    assert sorted(each.name for each in copy.iterdir()) == ["keep", "link", "other"]
    assert (copy / "keep").samefile(copy / "other")
    assert not (copy / "keep").samefile(context / "a/keep")
    assert local.locate("a/.") == (copy, "")
    whole, _ = local.locate("/")
    assert (whole / "c/d/keep").read_text() == "c/d/keep"
    local.close()


def test_what_is_its_own_is_there_for_nobody(context: Path) -> None:
    ignore = IgnorePatterns.parse("**\n!a\n!b\n", file=".dockerignore")
    local = LocalSource(context, ignore, context.parent / "copies", own=[context / "b", context / "a[x]"])
    assert local.tree().children("") == ["a"]
    assert local.tree().lookup("b/keep") is None
    copy, _ = local.locate("/")
    assert sorted(each.name for each in copy.iterdir()) == ["a"]
    with pytest.raises(ContextError, match="not found") as caught:
        local.locate("b")
    assert "knarr itself writes to" in str(caught.value.hint)
    local.close()


def test_wildcards_in_a_place_are_none(context: Path) -> None:
    (context / "[ab]").mkdir()
    local = LocalSource(context, IgnorePatterns(), context.parent / "copies", own=[context / "[ab]"])
    assert local.tree().children("") == ["a", "b", "c"]
    local.close()


@pytest.mark.root
def test_what_is_mounted_belongs_to_root(context: Path) -> None:
    """As in BuildKit, to which a context is sent without owners, its own directory without its mode."""
    os.chown(context / "b/keep", 7, 8)
    local = source(context)
    assert local.locate("a") == (context, "a")
    copy, _ = local.locate("b")
    assert ((copy / "keep").stat().st_uid, (copy / "keep").stat().st_gid) == (0, 0)
    os.chown(context / "b/keep", 0, 0)
    context.chmod(0o700)
    whole, _ = local.locate("")
    assert whole.stat().st_mode & 0o7777 == 0o755
    local.close()


def test_missing(context: Path) -> None:
    local = source(context, "a/drop\n")
    with pytest.raises(ContextError, match="not found") as caught:
        local.locate("/a/drop")
    assert "excluded" in str(caught.value.hint)
    local.close()
