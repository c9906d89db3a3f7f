"""Names of images in registries (distribution-spec, "Pulling manifests")."""

import dataclasses
import re
from dataclasses import dataclass

from knarr.errors import CorruptError, UsageError
from knarr.oci.digest import Digest

DOCKER_HUB = "docker.io"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.%]+\])(?::[0-9]{{1,5}})?")
_MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository in a registry, with the tag or the digest (or both) that picks an image of it."""

    registry: str
    """Host with its port if one was given; Docker Hub is always `docker.io`."""
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Read `[registry/]repository[:tag][@digest]` as Docker does.

        A name without registry is Docker Hub's, there with `library/` before a single component. The tag
        stays None where none is given. Raises UsageError.
        """
        rest, at, digest_text = text.strip().partition("@")
        digest = _parse_digest(digest_text, text) if at else None
        name, tag = _split_tag(rest)
        registry, repository = _split_registry(name)
        if not _REGISTRY.fullmatch(registry):
            raise _invalid(text, f"{registry!r} is not a registry host")
        if not _REPOSITORY.fullmatch(repository):
            raise _invalid(text, _repository_hint(repository))
        if len(repository) > _MAX_NAME:
            raise _invalid(text, f"the name is longer than {_MAX_NAME} characters")
        if tag is not None and not _TAG.fullmatch(tag):
            raise _invalid(text, f"{tag!r} is not a tag: letters, digits, '_', '.' and '-', at most 128")
        return cls(registry, repository, tag, digest)

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def selector(self) -> str:
        """What a manifest URL ends in: the digest if there is one, else the tag, else `latest`."""
        return str(self.digest) if self.digest is not None else self.tag or "latest"

    def with_default_tag(self) -> "Reference":
        """The same with tag `latest` where neither tag nor digest is given."""
        return self if self.tag or self.digest else dataclasses.replace(self, tag="latest")

    def with_digest(self, digest: Digest) -> "Reference":
        """The same image by digest."""
        return dataclasses.replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def normalise_registry(host: str) -> str:
    """The one name of a registry: Docker Hub's several become `docker.io`."""
    lowered = host.lower()
    return DOCKER_HUB if lowered in _HUB_NAMES else lowered


def _split_tag(text: str) -> tuple[str, str | None]:
    head, colon, tail = text.rpartition(":")
    if colon and "/" not in tail:
        return head, tail
    return text, None


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, repository = normalise_registry(first), rest
    else:
        registry, repository = DOCKER_HUB, name
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def _parse_digest(digest_text: str, text: str) -> Digest:
    try:
        return Digest.parse(digest_text)
    except CorruptError as error:
        raise _invalid(text, "behind '@' a digest is expected: sha256: and 64 hex digits") from error


def _repository_hint(repository: str) -> str:
    if repository != repository.lower():
        return "a repository name is lower case"
    if not repository:
        return "the repository name is empty"
    return f"{repository!r} is not a repository name"


def _invalid(text: str, why: str) -> UsageError:
    return UsageError(f"not an image reference: {text!r}", hint=why)
