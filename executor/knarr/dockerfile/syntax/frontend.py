"""The frontend image that a Dockerfile asks to be read by (`# syntax=`)."""

from collections.abc import Mapping

from knarr.dockerfile.syntax.directives import detect_directive
from knarr.errors import UsageError
from knarr.oci.reference import Reference

SYNTAX_ARG = "BUILDKIT_SYNTAX"
_MAX_SHOWN = 200
_BUILT_IN = "dockerfile.v0"
_DOCKERFILE = frozenset({"docker/dockerfile", "docker/dockerfile-upstream"})


def frontend_warning(text: str, build_args: Mapping[str, str]) -> str | None:
    """What to say where a file wants to be read by another image than the Dockerfile frontend, which is ours.

    The build argument BUILDKIT_SYNTAX goes before the directive. A copy of the Dockerfile frontend in another
    registry is known by the end of its name.
    """
    asked = build_args.get(SYNTAX_ARG) or detect_directive(
        "syntax", text.removeprefix("\ufeff"), foreign=True
    )
    image = (asked or "").strip().partition(" ")[0]
    if not image or image == _BUILT_IN or _is_dockerfile(image):
        return None
    shown = "".join(character if character.isprintable() else "?" for character in image[:_MAX_SHOWN])
    return f"the file is read as a Dockerfile, not by the frontend {shown}"


def _is_dockerfile(image: str) -> bool:
    try:
        repository = Reference.parse(image).repository
    except UsageError:
        return False
    return "/".join(repository.split("/")[-2:]) in _DOCKERFILE
