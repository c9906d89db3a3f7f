"""Flags that say where the image goes, in which form."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, ON, Switch, switch, value


@dataclass(frozen=True, slots=True)
class OutputFlags:
    """Destinations, formats, times."""

    destination: Annotated[
        tuple[str, ...], value("destination", "Push to this name; repeatable.", short="d")
    ] = ()
    extra_tag: Annotated[
        tuple[str, ...],
        value("extra-tag", "Another tag in the repository of the first destination; repeatable."),
    ] = ()
    output: Annotated[
        tuple[str, ...],
        value(
            "output",
            "Where the image or its files go, as buildx has it: type=registry, image, oci, docker, local or "
            "tar, with attributes; a directory; - for a tarball of the files; repeatable.",
            short="o",
        ),
    ] = ()
    push_by_digest: Annotated[
        Switch, switch("push-by-digest", "Push to the repository of each destination, without a tag.")
    ] = OFF
    no_push: Annotated[Switch, switch("no-push", "Build, but push nothing.")] = OFF
    skip_push: Annotated[Switch, switch("skip-push", "Buildah's word for --no-push, beside it.")] = OFF
    dryrun: Annotated[Switch, switch("dryrun", "Print what would be done; build, push, write nothing.")] = OFF
    tar_path: Annotated[str, value("tar-path", "Write a tarball for docker load.")] = ""
    old_tar_path: Annotated[str, value("tarPath", "Old name of --tar-path.", hidden=True)] = ""
    oci_layout_path: Annotated[str, value("oci-layout-path", "Write an OCI image layout directory.")] = ""
    annotation: Annotated[
        tuple[str, ...],
        value(
            "annotation",
            "[LEVEL[,LEVEL]:]KEY=VALUE; a level is manifest (the default) or manifest-descriptor, "
            "with [PLATFORM] for one alone; repeatable.",
        ),
    ] = ()
    image_format: Annotated[str, value("image-format", "Media types of the image: oci or docker.")] = "oci"
    compression: Annotated[
        str, value("compression", "Compression of the layers that are built: gzip or zstd.")
    ] = "gzip"
    compression_level: Annotated[
        str,
        value("compression-level", "Level of compression: gzip 1 to 9, zstd 1 to 22; -1 for the default."),
    ] = "-1"
    compressed_caching: Annotated[
        Switch, switch("compressed-caching", "Accepted: layers are never held in memory.", hidden=True)
    ] = ON
    reproducible: Annotated[
        Switch, switch("reproducible", "No times of this build in the image; see SOURCE_DATE_EPOCH.")
    ] = OFF
    custom_platform: Annotated[
        str, value("custom-platform", "Platform of the image: OS/ARCH[/VARIANT]; emulates nothing.")
    ] = ""
    old_custom_platform: Annotated[
        str, value("customPlatform", "Old name of --custom-platform.", hidden=True)
    ] = ""
