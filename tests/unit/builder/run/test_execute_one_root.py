"""The order of stages where all of them have one directory, one after the other."""

from knarr.exec.abilities import Abilities
from support.fake_backend import ONE_ROOT, PLAIN
from support.planned_builds import OpenedBuild, Workshop

LATE_SOURCE = """\
FROM base AS tools
RUN write /tool 1
FROM base
RUN write /app 1
COPY --from=tools /tool /tool
RUN copy /tool /end
"""
FILES = {"etc/base": "base", "app": "1", "tool": "1", "end": "1"}


def build(workshop: Workshop, dockerfile: str, abilities: Abilities) -> tuple[OpenedBuild, dict[str, str]]:
    """Built with an empty cache: then it is not known ahead that the source stage is needed."""
    settings = workshop.cache(workshop.place / f"cache{workshop.builds}")
    with workshop.open(dockerfile, abilities=abilities, cache=settings) as opened:
        files = opened.files(opened.execute())
    return opened, files


def test_a_source_is_built_before_its_consumer_takes_the_directory(workshop: Workshop) -> None:
    opened, files = build(workshop, LATE_SOURCE, ONE_ROOT)
    assert opened.ran == ["write /tool 1", "write /app 1", "copy /tool /end"]
    assert opened.opened == 2
    assert files == FILES


def test_where_each_has_a_directory_it_is_built_when_it_is_needed(workshop: Workshop) -> None:
    opened, files = build(workshop, LATE_SOURCE, PLAIN)
    assert opened.ran == ["write /app 1", "write /tool 1", "copy /tool /end"]
    assert opened.opened == 2
    assert files == FILES


def test_a_stage_on_another_takes_its_directory(workshop: Workshop) -> None:
    lines = "FROM base AS a\nRUN write /a 1\nFROM a AS b\nRUN write /b 1\nFROM b\nRUN write /c 1\n"
    for abilities, count in ((ONE_ROOT, 1), (PLAIN, 3)):
        opened, files = build(workshop, lines, abilities)
        assert files == {"etc/base": "base", "a": "1", "b": "1", "c": "1"}
        assert opened.opened == count


def test_two_stages_on_one_and_a_copy_of_it(workshop: Workshop) -> None:
    """The stage below has lost its directory when the second stage starts, and when it is copied from."""
    lines = (
        "FROM base AS a\nRUN write /a 1\n"
        "FROM a AS b\nRUN write /b 1\n"
        "FROM a\nRUN write /c 1\nCOPY --from=b /b /b\nCOPY --from=a /a /again\nRUN copy /again /d\n"
    )
    expected = {"etc/base": "base", "a": "1", "b": "1", "c": "1", "again": "1", "d": "1"}
    for abilities in (ONE_ROOT, PLAIN):
        for cached in (False, True):
            with workshop.open(
                lines, abilities=abilities, cache=workshop.cache() if cached else None
            ) as opened:
                assert opened.files(opened.execute()) == expected


def test_stages_without_steps_open_nothing(workshop: Workshop) -> None:
    lines = "FROM base AS a\nCOPY <<f /f\nx\nf\nFROM base\nCOPY --from=a /f /f\n"
    for abilities in (ONE_ROOT, PLAIN):
        opened, files = build(workshop, lines, abilities)
        assert (files["f"], opened.opened) == ("x\n", 0)


def test_a_stage_on_another_has_its_own_cached_layers(workshop: Workshop) -> None:
    lines = "FROM base AS a\nRUN write /a 1\nFROM a\nRUN write /b 2\nRUN copy /b {}\n"
    for abilities in (ONE_ROOT, PLAIN):
        settings = workshop.cache(workshop.place / f"cache{workshop.builds}")
        for name in ("/c", "/d"):
            with workshop.open(lines.format(name), abilities=abilities, cache=settings) as opened:
                expected = {"etc/base": "base", "a": "1", "b": "2", name[1:]: "2"}
                assert opened.files(opened.execute()) == expected
        assert opened.ran == ["copy /b /d"]
