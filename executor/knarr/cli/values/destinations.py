"""Names that images are pushed to, as they are written on a command line."""

from collections.abc import Sequence

from knarr.errors import UsageError
from knarr.oci.reference import Reference


def parse_destinations(names: Sequence[str], extra_tags: Sequence[str]) -> tuple[Reference, ...]:
    """The names in order, then the first one under the extra tags. Raises UsageError."""
    destinations = [parse_destination(text) for text in names]
    if extra_tags and not destinations:
        raise UsageError("--extra-tag needs a --destination, to whose repository it adds a tag")
    extra = [parse_destination(f"{destinations[0].name}:{tag}") for tag in extra_tags]
    return tuple(dict.fromkeys((*destinations, *extra)))


def parse_destination(text: str) -> Reference:
    """A name with its tag, `latest` where none is given; UsageError for one with a digest."""
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise UsageError(f"--destination takes a name with a tag, not a digest: {text}")
    return reference.with_default_tag()
