"""What `--build-context NAME=VALUE` says: values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from knarr.dockerfile.stages.context_names import context_name
from knarr.errors import CorruptError, UsageError
from knarr.oci.digest import Digest
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class DirectoryContext:
    """A directory of the machine; absolute."""

    path: Path


@dataclass(frozen=True, slots=True)
class ImageContext:
    """An image in a registry."""

    name: str


@dataclass(frozen=True, slots=True)
class LayoutContext:
    """An image in an OCI image layout; by digest where there is one, else by tag, else the only one."""

    path: Path
    tag: str | None = None
    digest: Digest | None = None


NamedContext = DirectoryContext | ImageContext | LayoutContext


@dataclass(frozen=True, slots=True)
class ContextKey:
    """The name of a context, for one platform alone where it says so (`NAME::PLATFORM`)."""

    name: str
    platform: Platform | None = None


def parse_named_context(text: str, working_directory: Path) -> tuple[ContextKey, NamedContext]:
    """Read `NAME[::PLATFORM]=DIRECTORY|docker-image://REFERENCE|oci-layout://PATH[:TAG][@DIGEST]`.

    Raises UsageError.
    """
    left, equals, value = text.partition("=")
    name, separator, platform = left.partition("::")
    if not equals or not name or not value:
        raise UsageError(f"--build-context takes NAME=VALUE, got {text!r}")
    key = ContextKey(context_name(name), Platform.parse(platform) if separator else None)
    scheme, separator, rest = value.partition("://")
    if not separator:
        return key, DirectoryContext(working_directory / value)
    if scheme == "docker-image":
        Reference.parse(rest)
        return key, ImageContext(rest)
    if scheme == "oci-layout":
        return key, _parse_layout(rest, working_directory)
    raise UsageError(
        f"--build-context {left}: {scheme}:// is not supported",
        hint="use a directory, docker-image:// or oci-layout://; fetch anything else in a step before",
    )


def choose_context(
    contexts: Mapping[ContextKey, NamedContext], name: str, platform: Platform
) -> NamedContext | None:
    """The context of a name for a platform: its own comes before that of all platforms."""
    return contexts.get(ContextKey(name, platform)) or contexts.get(ContextKey(name))


def _parse_layout(text: str, working_directory: Path) -> LayoutContext:
    rest, at, digest_text = text.partition("@")
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        path, tag = rest, ""
    try:
        digest = Digest.parse(digest_text) if at else None
    except CorruptError as error:
        raise UsageError(f"not a digest: {digest_text!r}", hint="sha256: and 64 hex digits") from error
    if not path:
        raise UsageError(f"oci-layout://{text} names no directory")
    return LayoutContext(working_directory / path, tag or None, digest)
