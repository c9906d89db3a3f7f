"""The names of named contexts (`--build-context`), which come before those of images and stages."""

from collections.abc import Collection

from knarr.errors import UsageError
from knarr.oci.reference import DOCKER_HUB, Reference

_HUB_PREFIXES = (f"{DOCKER_HUB}/library/", f"{DOCKER_HUB}/")


def context_name(text: str) -> str:
    """The one form of a name: an image's as short as Docker shows it, anything else in lower case.

    `docker.io/library/alpine:latest`, `alpine:latest` and `alpine` are all `alpine`.
    """
    try:
        reference = Reference.parse(text)
    except UsageError:
        return text.lower()
    short = str(reference)
    for prefix in _HUB_PREFIXES:
        if short.startswith(prefix):
            short = short.removeprefix(prefix)
            break
    return short.removesuffix(":latest") if reference.digest is None else short


def find_context(text: str, contexts: Collection[str]) -> str | None:
    """The one of `contexts`, which are names in that form, that a name means; None where there is none."""
    if not contexts:
        return None
    name = context_name(text)
    return name if name in contexts else None
