"""Flags with environment to the outputs of a build."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from knarr.builder.request import results
from knarr.builder.request.exports import Export, ExportKind
from knarr.builder.request.request import Outputs
from knarr.cli.flags.outputs import OutputFlags
from knarr.cli.flags.results import ResultFlags
from knarr.cli.values.grammar import parse_bool
from knarr.cli.values.output.destinations import parse_destinations
from knarr.cli.values.output.image_form import read_form
from knarr.cli.values.output.output_records import OutputRecord, parse_output
from knarr.cli.values.output.result_files import read_output_files
from knarr.errors import UsageError
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note, Reporter

_OF_NAMES = frozenset({results.names_with_digest, results.tagged_names_with_digest})
_KINDS: Mapping[str, ExportKind] = MappingProxyType(
    {
        "docker": ExportKind.DOCKER_ARCHIVE,
        "oci": ExportKind.OCI_ARCHIVE,
        "tar": ExportKind.FILES_ARCHIVE,
        "local": ExportKind.FILES_DIRECTORY,
    }
)
_STDOUT = "/dev/stdout"


def read_outputs(
    flags: OutputFlags,
    files: ResultFlags,
    environment: Mapping[str, str],
    directory: Path,
    machine: Platform,
) -> Outputs:
    """What the flags ask for, paths from `directory`. Raises UsageError."""
    records = tuple(parse_output(text) for text in flags.output)
    names, is_asked = _pushed_names(flags, records)
    outputs = Outputs(
        destinations=names,
        push=is_asked and not _is_push_off(flags, environment),
        exports=tuple(_exports(flags, records, names, directory)),
        files=tuple(read_output_files(files, environment, directory)),
        form=read_form(flags, records, target_platform(flags, machine)).form,
    )
    has_decided = any(each.decides_push for each in records)
    if outputs.push and not outputs.destinations and not outputs.exports and not has_decided:
        raise UsageError(
            "there is nowhere for the image to go",
            hint="give --destination, --output, --oci-layout-path or --tar-path, or --no-push for a trial",
        )
    _check_stdout(outputs)
    for file in outputs.files:
        if file.text in _OF_NAMES and not outputs.destinations:
            raise UsageError(f"{file.flag} needs a --destination, whose name it writes")
    return outputs


def _pushed_names(flags: OutputFlags, records: Sequence[OutputRecord]) -> tuple[tuple[Reference, ...], bool]:
    """The names of the image, with whether it is to be pushed to them.

    An output that is an image says if there is a push, as with BuildKit; without one --destination does.
    """
    plain = flags.push_by_digest.on
    deciding = [each for each in records if each.decides_push]
    if not deciding:
        return parse_destinations(flags.destination, flags.extra_tag, by_digest=plain), True
    pushed = [each for each in deciding if each.is_pushed]
    names: list[Reference] = []
    for each in pushed or deciding:
        texts, by_digest = flags.destination or each.names, plain or each.is_by_digest
        if each.is_pushed and not texts:
            raise UsageError(
                f"{each.flag}: there is no name to push to", hint="name=REPOSITORY:TAG, or --destination"
            )
        names += parse_destinations(texts, flags.extra_tag, by_digest=by_digest)
    return tuple(dict.fromkeys(names)), bool(pushed)


def _exports(
    flags: OutputFlags, records: Iterable[OutputRecord], names: tuple[Reference, ...], directory: Path
) -> Iterator[Export]:
    layout, tarball = flags.oci_layout_path, flags.tar_path or flags.old_tar_path
    if layout:
        yield Export("--oci-layout-path", ExportKind.OCI_LAYOUT, directory / layout, names)
    if tarball:
        yield Export("--tar-path", ExportKind.DOCKER_ARCHIVE, directory / tarball, names)
    for each in records:
        if each.type in _KINDS:
            is_layout = each.is_image and not each.is_on("tar", default=True)
            own = parse_destinations(each.names, ()) if each.is_image and not flags.destination else names
            yield Export(
                each.flag,
                ExportKind.OCI_LAYOUT if is_layout else _KINDS[each.type],
                directory / (_STDOUT if each.dest == "-" else each.dest),
                own or names,
                is_split=each.is_on("platform-split"),
            )


def _check_stdout(outputs: Outputs) -> None:
    exports = [each.flag for each in outputs.exports if each.is_stdout]
    files = [each.flag for each in outputs.files if each.is_stdout]
    if exports and len(exports) + len(files) > 1:
        raise UsageError(
            f"{' and '.join((*exports, *files))}: standard output takes one of them",
            hint="give the others a file",
        )


def _is_push_off(flags: OutputFlags, environment: Mapping[str, str]) -> bool:
    """KANIKO_NO_PUSH comes before the flag, as in kaniko."""
    text = environment.get("KANIKO_NO_PUSH", "")
    return (parse_bool(text) if text else flags.no_push.on) or flags.skip_push.on


def target_platform(flags: OutputFlags, machine: Platform) -> Platform:
    """The platform of the image: that of the machine by default. Raises UsageError."""
    text = flags.custom_platform or flags.old_custom_platform
    return Platform.parse(text) if text else machine


def report_old_flags(flags: OutputFlags, machine: Platform, reporter: Reporter) -> None:
    """Tell of flags whose names are old, or that change nothing. Raises UsageError."""
    if flags.old_custom_platform:
        reporter.report(Note("--customPlatform is the old name of --custom-platform", "warning"))
    if flags.old_tar_path:
        reporter.report(Note("--tarPath is the old name of --tar-path", "warning"))
    if not flags.compressed_caching:
        reporter.report(Note("--compressed-caching changes nothing: layers are never held in memory"))
    records = [parse_output(text) for text in flags.output]
    for each in records:
        if flags.destination and each.names:
            text = f"{each.flag}: its name is not used: --destination names the image"
            reporter.report(Note(text, "warning"))
        if each.decides_push and not each.is_pushed:
            reporter.report(Note(f"{each.flag}: the image is built, and kept nowhere by this output"))
    for text in read_form(flags, records, target_platform(flags, machine)).notes:
        reporter.report(Note(text, "warning"))
