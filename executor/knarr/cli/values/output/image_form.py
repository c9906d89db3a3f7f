"""Flags and attributes of outputs to the form of the image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from knarr.cli.flags.outputs import OutputFlags
from knarr.cli.values.output.annotations import MANIFEST, Annotation, for_image
from knarr.cli.values.output.output_records import OutputRecord
from knarr.errors import UsageError
from knarr.images.form import ImageForm, ImageFormat
from knarr.layers.compression import Compression, CompressionSettings, new_compressor
from knarr.oci.platform import Platform

_Choice = TypeVar("_Choice")

_COMPRESSIONS = MappingProxyType({each.value: each for each in (Compression.GZIP, Compression.ZSTD)})
_OF_OUTPUTS = MappingProxyType({**_COMPRESSIONS, "uncompressed": Compression.NONE})
_FORMATS = MappingProxyType({each.value: each for each in ImageFormat})
_DEFAULTS = OutputFlags()
_MAX_GZIP_LEVEL = 9


@dataclass(frozen=True, slots=True)
class ReadForm:
    """A form, with what was asked for and does not apply."""

    form: ImageForm
    notes: tuple[str, ...]


def read_form(flags: OutputFlags, records: Sequence[OutputRecord], platform: Platform) -> ReadForm:
    """The one form of the image. Raises UsageError where two outputs want it different."""
    image_format = _format(flags, records)
    compression = _compression(flags, records)
    if compression is Compression.ZSTD:
        _refuse_zstd(flags, records, image_format)
    settings = CompressionSettings(compression, _level(flags, records))
    new_compressor(settings)  # a level that the compression lacks is told now, not at the first layer
    given = [Annotation.parse(text, default=MANIFEST) for text in flags.annotation]
    given += [annotation for each in records for annotation in each.annotations]
    found = for_image(given, platform)
    notes = list(found.notes)
    if found.descriptor and not _has_index_file(flags, records):
        notes.append("manifest-descriptor: no output of this build has an index whose entry it could be in")
    return ReadForm(
        ImageForm(image_format, settings, found.manifest, found.descriptor, is_forced=_is_forced(records)),
        tuple(notes),
    )


def _format(flags: OutputFlags, records: Sequence[OutputRecord]) -> ImageFormat:
    default = _chosen("--image-format", flags.image_format, _FORMATS)
    said = {
        f"oci-mediatypes={each.attributes['oci-mediatypes']}": ImageFormat.OCI
        if each.is_on("oci-mediatypes")
        else ImageFormat.DOCKER
        for each in records
        if "oci-mediatypes" in each.attributes
    }
    return _one(said, default, f"--image-format={flags.image_format}", is_default=default is ImageFormat.OCI)


def _compression(flags: OutputFlags, records: Sequence[OutputRecord]) -> Compression:
    default = _chosen("--compression", flags.compression, _COMPRESSIONS)
    said = {
        f"compression={text}": _chosen("--output: compression", text, _OF_OUTPUTS)
        for text in _values(records, "compression")
    }
    return _one(said, default, f"--compression={flags.compression}", is_default=default is Compression.GZIP)


def _level(flags: OutputFlags, records: Sequence[OutputRecord]) -> int | None:
    """A level, None where kaniko takes its default: for 0 and less."""
    default = _number("--compression-level", flags.compression_level)
    said = {
        f"compression-level={text}": _number("--output: compression-level", text)
        for text in _values(records, "compression-level")
    }
    is_default = flags.compression_level == _DEFAULTS.compression_level
    level = _one(said, default, f"--compression-level={flags.compression_level}", is_default=is_default)
    return level if level > 0 else None


def _is_forced(records: Sequence[OutputRecord]) -> bool:
    said = {
        f"force-compression={each.attributes['force-compression']}": each.is_on("force-compression")
        for each in records
        if "force-compression" in each.attributes
    }
    return _one(said, False, "", is_default=True)  # noqa: FBT003


def _values(records: Sequence[OutputRecord], attribute: str) -> list[str]:
    return [each.attributes[attribute] for each in records if attribute in each.attributes]


def _one(said: Mapping[str, _Choice], default: _Choice, flag: str, *, is_default: bool) -> _Choice:
    """What flag and attributes agree on; the flag's default is silent."""
    wanted = dict(said) if is_default else {flag: default, **said}
    if len(set(wanted.values())) > 1:
        raise UsageError(
            f"{' and '.join(wanted)} are of two images, and a build makes one",
            hint="let all outputs say the same, or build twice: the second has its layers from the cache",
        )
    return next(iter(wanted.values()), default)


def _refuse_zstd(flags: OutputFlags, records: Sequence[OutputRecord], image_format: ImageFormat) -> None:
    if image_format is ImageFormat.DOCKER:
        raise UsageError(
            "--compression=zstd does not go with --image-format=docker (oci-mediatypes=false)",
            hint="zstd layers are OCI's",
        )
    if flags.tar_path or flags.old_tar_path:
        raise UsageError(
            "--compression=zstd does not go with --tar-path",
            hint="docker load may not read zstd layers; --oci-layout-path takes them",
        )
    if any(each.type == "docker" for each in records):
        raise UsageError(
            "compression=zstd does not go with --output type=docker",
            hint="docker load may not read zstd layers; type=oci takes them",
        )


def _has_index_file(flags: OutputFlags, records: Sequence[OutputRecord]) -> bool:
    is_saved = any(each.type in ("oci", "docker") for each in records)
    return is_saved or bool(flags.oci_layout_path or flags.tar_path or flags.old_tar_path)


def _number(flag: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{flag} takes a number, got {text!r}") from error


def _chosen(flag: str, text: str, choices: Mapping[str, _Choice]) -> _Choice:
    try:
        return choices[text]
    except KeyError as error:
        raise UsageError(f"{flag} knows {', '.join(choices)}, not {text!r}") from error
