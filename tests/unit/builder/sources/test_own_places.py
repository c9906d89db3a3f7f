"""Which places of the program's own lie in a directory."""

from pathlib import Path

import pytest

from knarr.builder.sources.own_places import places_below


@pytest.fixture
def context(tmp_path: Path) -> Path:
    context = tmp_path / "context"
    for name in ("src/file", "dist/keep", "dist/image.tar", ".cache/one/entry", "ci/work/knarr-ab12_xyz/x"):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).touch()
    (tmp_path / "link").symlink_to(context)
    return context


def below(context: Path, *own: str) -> tuple[str, ...]:
    return places_below(context, [context / each for each in own])


def test_what_lies_elsewhere_or_is_the_directory_itself_is_none(context: Path, tmp_path: Path) -> None:
    assert places_below(context, [tmp_path, context, tmp_path / "contexts", Path("/dev/stdout")]) == ()


def test_a_directory_that_holds_other_files_stays(context: Path) -> None:
    assert below(context, "dist/image.tar") == ("dist/image.tar",)


def test_one_that_holds_nothing_else_goes_with_them(context: Path) -> None:
    assert below(context, ".cache/one") == (".cache", ".cache/one")
    assert below(context, "new/deep/cache") == ("new", "new/deep", "new/deep/cache")
    assert ".cache" not in below(context, ".cache/one/entry/none", "src/file/x")


def test_links_lead_to_the_same_places(context: Path, tmp_path: Path) -> None:
    assert places_below(tmp_path / "link", [context / "dist/image.tar"]) == ("dist/image.tar",)
    assert places_below(context, [tmp_path / "link/dist/image.tar"]) == ("dist/image.tar",)


def test_work_directories_of_other_builds_go_too(context: Path) -> None:
    work = context / "ci/work/knarr-ab12_xyz"
    work.chmod(0o700)
    (context / "ci/work/knarr-examples").mkdir()
    assert places_below(context, [work]) == ("ci/work/knarr-ab12_xyz",)
    other = context / "ci/work/knarr-zzzzzzzz"
    other.mkdir(0o700)
    assert places_below(context, [work]) == ("ci/work/knarr-ab12_xyz", "ci/work/knarr-zzzzzzzz")
    (context / "ci/work/knarr-examples").rmdir()
    assert {"ci", "ci/work"} < set(places_below(context, [work]))
