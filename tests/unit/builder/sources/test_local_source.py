"""A directory as a source: where it is mounted from."""

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


def test_missing(context: Path) -> None:
    local = source(context, "a/drop\n")
    with pytest.raises(ContextError, match="not found") as caught:
        local.locate("/a/drop")
    assert "excluded" in str(caught.value.hint)
    local.close()
