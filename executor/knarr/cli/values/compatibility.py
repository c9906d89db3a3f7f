"""Flags of kaniko whose promise is always kept, or that say something another way."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.cli.flags.snapshots import SnapshotFlags
from knarr.cli.flags.upkeep import UpkeepFlags
from knarr.cli.values.grammar import parse_bool
from knarr.errors import UsageError
from knarr.progress import Note, Reporter

_HASH_CONTENT = {"": False, "full": True, "redo": False, "time": False}


def snapshot_rules(flags: SnapshotFlags) -> SnapshotRules:
    """What the snapshot flags ask for. Raises UsageError for an unknown mode."""
    mode = flags.snapshot_mode or flags.old_snapshot_mode
    if mode not in _HASH_CONTENT:
        raise UsageError(f"--snapshot-mode {mode}: no such mode", hint="one of full, redo, time")
    ignored = list(flags.ignore_path)
    if flags.ignore_var_run or flags.whitelist_var_run:
        ignored.append("/var/run")
    return SnapshotRules.of(ignored, hash_content=_HASH_CONTENT[mode])


def check_extra_args(flags: UpkeepFlags) -> None:
    """Refuse flags of buildah, which its Task splits at spaces. Raises UsageError."""
    for name, text in (
        ("BUILD_EXTRA_ARGS", flags.build_extra_args),
        ("PUSH_EXTRA_ARGS", flags.push_extra_args),
    ):
        if text.strip():
            raise UsageError(
                f"{name} holds flags of buildah: {text}",
                hint="EXTRA_ARGS, an array, takes those of knarr build; most have a parameter of their own",
            )


def work_directory(flags: UpkeepFlags, environment: Mapping[str, str]) -> Path | None:
    """The directory to work in that a flag or a variable of kaniko's names, made where it is missing."""
    text = flags.kaniko_dir or ("" if environment.get("KNARR_DIR") else environment.get("KANIKO_DIR", ""))
    if not text:
        return None
    path = Path(text).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"can't work in {path}: {error.strerror}", hint="see --kaniko-dir, KANIKO_DIR"
        ) from error
    return path


def is_plan_printed(environment: Mapping[str, str]) -> bool:
    """Whether a variable of kaniko's asks for the plan, ahead of the build. Raises UsageError."""
    text = environment.get("KANIKO_PRINT_PLAN", "")
    return parse_bool(text) if text else False


def report_needless(snapshots: SnapshotFlags, upkeep: UpkeepFlags, reporter: Reporter) -> None:
    """Tell, a line each, of flags that change nothing because what they promise holds anyway."""
    for text in (*_snapshot_notes(snapshots), *_upkeep_notes(upkeep)):
        reporter.report(Note(text))


def _snapshot_notes(flags: SnapshotFlags) -> Iterator[str]:
    if flags.old_snapshot_mode:
        yield "--snapshotMode is the old name of --snapshot-mode"
    if flags.whitelist_var_run:
        yield "--whitelist-var-run is the old name of --ignore-var-run"
    if flags.use_new_run:
        yield "--use-new-run is needless: changes are found by overlayfs, or by inode and ctime"


def _upkeep_notes(flags: UpkeepFlags) -> Iterator[str]:
    if flags.cleanup or flags.pre_cleanup:
        yield "--cleanup, --pre-cleanup are needless: the container is always left as it was"
    if flags.preserve_context:
        yield "--preserve-context is needless: the build context is never touched"
    if flags.image_fs_extract_retry not in ("", "0"):
        yield "--image-fs-extract-retry is needless: a pull that breaks is taken up where it broke"
    if flags.force_build_metadata:
        yield "--force-build-metadata is needless: metadata is always written"
    if flags.skip_unused_stages:
        yield "--skip-unused-stages is needless: unused stages are never built"
