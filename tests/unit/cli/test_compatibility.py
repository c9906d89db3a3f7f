"""Flags of kaniko whose promise is always kept."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.cli.flags.kinds import ON
from knarr.cli.flags.snapshots import SnapshotFlags
from knarr.cli.flags.upkeep import UpkeepFlags
from knarr.cli.values.compatibility import is_plan_printed, report_needless, snapshot_rules, work_directory
from knarr.errors import UsageError
from knarr.progress import Note


class Notes:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def report(self, event: object) -> None:
        assert isinstance(event, Note)
        self.texts.append(event.text)


@pytest.mark.parametrize(
    ("flags", "rules"),
    [
        (SnapshotFlags(), SnapshotRules()),
        (SnapshotFlags(snapshot_mode="full"), SnapshotRules(hash_content=True)),
        (SnapshotFlags(snapshot_mode="redo"), SnapshotRules()),
        (SnapshotFlags(snapshot_mode="time"), SnapshotRules()),
        (SnapshotFlags(old_snapshot_mode="full"), SnapshotRules(hash_content=True)),
        (SnapshotFlags(snapshot_mode="redo", old_snapshot_mode="full"), SnapshotRules()),
        (SnapshotFlags(ignore_path=("/a/", "b")), SnapshotRules(ignored=("a", "b"))),
        (SnapshotFlags(ignore_var_run=ON), SnapshotRules(ignored=("var/run",))),
        (SnapshotFlags(whitelist_var_run=ON), SnapshotRules(ignored=("var/run",))),
    ],
)
def test_rules(flags: SnapshotFlags, rules: SnapshotRules) -> None:
    assert snapshot_rules(flags) == rules


@pytest.mark.parametrize(
    "flags", [SnapshotFlags(snapshot_mode="fast"), SnapshotFlags(old_snapshot_mode="Full")]
)
def test_unknown_mode(flags: SnapshotFlags) -> None:
    with pytest.raises(UsageError, match="no such mode") as caught:
        snapshot_rules(flags)
    assert caught.value.hint == "one of full, redo, time"


def test_work_directory(tmp_path: Path) -> None:
    made = tmp_path / "a/b"
    assert work_directory(UpkeepFlags(kaniko_dir=str(made)), {"KANIKO_DIR": "/gone"}) == made
    assert made.is_dir()
    assert work_directory(UpkeepFlags(), {"KANIKO_DIR": str(tmp_path / "c")}) == tmp_path / "c"
    assert work_directory(UpkeepFlags(), {"KANIKO_DIR": "/gone", "KNARR_DIR": "/own"}) is None
    assert work_directory(UpkeepFlags(), {}) is None


def test_work_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"can't work in .*/file/x"):
        work_directory(UpkeepFlags(kaniko_dir=str(tmp_path / "file/x")), {})


@pytest.mark.parametrize(("text", "is_printed"), [("", False), ("0", False), ("true", True), ("1", True)])
def test_plan(text: str, is_printed: bool) -> None:  # noqa: FBT001
    assert is_plan_printed({"KANIKO_PRINT_PLAN": text}) is is_printed
    assert not is_plan_printed({})


def test_plan_with_another_word() -> None:
    with pytest.raises(UsageError):
        is_plan_printed({"KANIKO_PRINT_PLAN": "yes"})


def needless(**values: Any) -> list[str]:
    """What is told of these flags."""
    notes = Notes()
    names = {each.name for each in fields(SnapshotFlags)}
    snapshots = {name: value for name, value in values.items() if name in names}
    upkeep = {name: value for name, value in values.items() if name not in names}
    report_needless(SnapshotFlags(**snapshots), UpkeepFlags(**upkeep), notes)
    return notes.texts


@pytest.mark.parametrize(
    "values",
    [
        {"use_new_run": ON},
        {"cleanup": ON},
        {"pre_cleanup": ON},
        {"preserve_context": ON},
        {"image_fs_extract_retry": "3"},
        {"force_build_metadata": ON},
        {"skip_unused_stages": ON},
        {"old_snapshot_mode": "redo"},
        {"whitelist_var_run": ON},
    ],
)
def test_a_line_for_each_needless_flag(values: dict[str, Any]) -> None:
    (text,) = needless(**values)
    (name,) = values
    assert {"old_snapshot_mode": "snapshotMode"}.get(name, name.replace("_", "-")) in text


def test_nothing_is_told_of_flags_that_are_not_given() -> None:
    assert needless() == []
    assert needless(image_fs_extract_retry="0", snapshot_mode="redo", ignore_path=("/x",)) == []
