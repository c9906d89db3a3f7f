"""Flags with environment to the outputs of a build."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from knarr.builder.request import results
from knarr.builder.request.output_files import OutputFile
from knarr.builder.request.request import Outputs
from knarr.cli.flags.outputs import OutputFlags
from knarr.cli.flags.results import ResultFlags
from knarr.cli.values.destinations import parse_destinations
from knarr.cli.values.grammar import parse_bool, parse_pair
from knarr.errors import UsageError
from knarr.images.form import ImageForm, ImageFormat
from knarr.layers.compression import Compression, CompressionSettings, new_compressor
from knarr.oci.platform import Platform
from knarr.progress import Note, Reporter

_Choice = TypeVar("_Choice")

_COMPRESSIONS = MappingProxyType({each.value: each for each in (Compression.GZIP, Compression.ZSTD)})
_OF_NAMES = frozenset({results.names_with_digest, results.tagged_names_with_digest})
_FORMATS = MappingProxyType({each.value: each for each in ImageFormat})


def read_outputs(
    flags: OutputFlags, files: ResultFlags, environment: Mapping[str, str], directory: Path
) -> Outputs:
    """What the flags ask for, paths from `directory`. Raises UsageError."""
    outputs = Outputs(
        destinations=parse_destinations(flags.destination, flags.extra_tag),
        push=not _is_push_off(flags, environment),
        tar_path=_path(flags.tar_path or flags.old_tar_path, directory),
        oci_layout_path=_path(flags.oci_layout_path, directory),
        files=tuple(read_output_files(files, environment, directory)),
        form=_form(flags),
    )
    if outputs.push and not outputs.destinations and not outputs.need_all_layers:
        raise UsageError(
            "there is nowhere for the image to go",
            hint="give --destination, --oci-layout-path or --tar-path, or --no-push for a trial",
        )
    for file in outputs.files:
        if file.text in _OF_NAMES and not outputs.destinations:
            raise UsageError(f"{file.flag} needs a --destination, whose name it writes")
    return outputs


def _is_push_off(flags: OutputFlags, environment: Mapping[str, str]) -> bool:
    """KANIKO_NO_PUSH comes before the flag, as in kaniko."""
    text = environment.get("KANIKO_NO_PUSH", "")
    return (parse_bool(text) if text else flags.no_push.on) or flags.skip_push.on


def target_platform(flags: OutputFlags, machine: Platform) -> Platform:
    """The platform of the image: that of the machine by default. Raises UsageError."""
    text = flags.custom_platform or flags.old_custom_platform
    return Platform.parse(text) if text else machine


def report_old_flags(flags: OutputFlags, reporter: Reporter) -> None:
    """Tell of flags whose names are old, or that change nothing any more."""
    if flags.old_custom_platform:
        reporter.report(Note("--customPlatform is the old name of --custom-platform", "warning"))
    if flags.old_tar_path:
        reporter.report(Note("--tarPath is the old name of --tar-path", "warning"))
    if not flags.compressed_caching:
        reporter.report(Note("--compressed-caching changes nothing: layers are never held in memory"))


def _form(flags: OutputFlags) -> ImageForm:
    image_format = _chosen("--image-format", flags.image_format, _FORMATS)
    compression = _chosen("--compression", flags.compression, _COMPRESSIONS)
    if compression is Compression.ZSTD:
        if image_format is ImageFormat.DOCKER:
            raise UsageError(
                "--compression=zstd does not go with --image-format=docker", hint="zstd layers are OCI's"
            )
        if flags.tar_path or flags.old_tar_path:
            raise UsageError(
                "--compression=zstd does not go with --tar-path",
                hint="docker load may not read zstd layers; --oci-layout-path takes them",
            )
    settings = CompressionSettings(compression, _level(flags.compression_level))
    new_compressor(settings)  # a level that the compression lacks is told now, not at the first layer
    annotations = dict(parse_pair(text, "--annotation") for text in flags.annotation)
    return ImageForm(image_format, settings, annotations)


def _level(text: str) -> int | None:
    """A level, None where kaniko takes its default: for 0 and less."""
    try:
        level = int(text)
    except ValueError as error:
        raise UsageError(f"--compression-level takes a number, got {text!r}") from error
    return level if level > 0 else None


def read_output_files(
    flags: ResultFlags, environment: Mapping[str, str], directory: Path
) -> Iterator[OutputFile]:
    """What the pipeline around is told, paths from `directory`. Raises UsageError."""
    plain = (
        ("--digest-file", flags.digest_file, results.digest_text),
        ("--image-name-with-digest-file", flags.image_name_with_digest_file, results.names_with_digest),
        (
            "--image-name-tag-with-digest-file",
            flags.image_name_tag_with_digest_file,
            results.tagged_names_with_digest,
        ),
        ("--metadata-file", flags.metadata_file, results.metadata),
        ("--dotenv-file", flags.dotenv_file, results.dotenv),
    )
    for flag, place, text in plain:
        if place:
            yield OutputFile.parse(flag, place, text, directory=directory)
    for pair in flags.result_file:
        yield from _tekton_result(pair, directory)
    if flags.github_output:
        yield _github_output(environment)
        if environment.get("GITHUB_ARTIFACTS"):
            path = Path(environment["GITHUB_ARTIFACTS"]).absolute()
            yield OutputFile("GITHUB_ARTIFACTS", path, results.github_artifacts, append=True)
    if environment.get("BUILDER_OUTPUT"):
        path = directory / environment["BUILDER_OUTPUT"] / "images"
        yield OutputFile("BUILDER_OUTPUT", path, results.cloud_build_images)


def _tekton_result(pair: str, directory: Path) -> Iterator[OutputFile]:
    flag = "--result-file"
    name, place = parse_pair(pair, flag)
    text = _chosen(flag, name, results.TEKTON_RESULTS)
    if place:
        yield OutputFile.parse(f"{flag} {name}", place, text, directory=directory)


def _github_output(environment: Mapping[str, str]) -> OutputFile:
    path = environment.get("GITHUB_OUTPUT")
    if not path:
        raise UsageError(
            "--github-output: GITHUB_OUTPUT is not set", hint="a container needs it, and the file, passed on"
        )
    return OutputFile("--github-output", Path(path).absolute(), results.github_output, append=True)


def _path(text: str, directory: Path) -> Path | None:
    return directory / text if text else None


def _chosen(flag: str, text: str, choices: Mapping[str, _Choice]) -> _Choice:
    try:
        return choices[text]
    except KeyError as error:
        raise UsageError(f"{flag} knows {', '.join(choices)}, not {text!r}") from error
