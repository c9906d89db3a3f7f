"""Names that images are pushed to, as they are written on a command line."""

from collections.abc import Sequence

from knarr.errors import UsageError
from knarr.oci.reference import Reference


def parse_destinations(
    names: Sequence[str], extra_tags: Sequence[str], *, by_digest: bool = False
) -> tuple[Reference, ...]:
    """The names in order, then the first one under the extra tags; `by_digest` they have no tag.

    Raises UsageError.
    """
    if by_digest:
        if extra_tags:
            raise UsageError("--extra-tag does not go with a push by digest, which sets no tag")
        return tuple(dict.fromkeys(_parse_repository(text) for text in names))
    destinations = [parse_destination(text) for text in names]
    if extra_tags and not destinations:
        raise UsageError("--extra-tag needs a --destination, to whose repository it adds a tag")
    extra = [parse_destination(f"{destinations[0].name}:{tag}") for tag in extra_tags]
    return tuple(dict.fromkeys((*destinations, *extra)))


def parse_destination(text: str) -> Reference:
    """A name with its tag, `latest` where none is given; UsageError for one with a digest."""
    return _parse(text).with_default_tag()


def _parse_repository(text: str) -> Reference:
    reference = _parse(text)
    if reference.tag is not None:
        raise UsageError(
            f"can't push by digest to {text}, which has a tag", hint=f"name the repository: {reference.name}"
        )
    return reference


def _parse(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise UsageError(f"--destination takes a name with a tag, not a digest: {text}")
    return reference
