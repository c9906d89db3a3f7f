"""What a build, or an index, tells the pipeline around it, as texts."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from knarr.oci.digest import Digest
from knarr.oci.manifest import Descriptor
from knarr.oci.reference import DOCKER_HUB, Reference

_KANIKO_HUB = "index.docker.io"


@dataclass(frozen=True, slots=True)
class BuildResult:
    """A manifest or index with the names that it was given; `pushed` says if it is there.

    A name without a tag is a repository that has it by digest alone.
    """

    descriptor: Descriptor
    names: tuple[Reference, ...]
    pushed: bool
    config_digest: Digest | None = None
    """That of an image's config; an index has none."""

    @property
    def digest(self) -> Digest:
        """Digest of the manifest or index."""
        return self.descriptor.digest


ResultText = Callable[[BuildResult], str | None]
"""Gives a text, or None where a build with this result has nothing to say."""


def digest_text(result: BuildResult) -> str:
    """The manifest's digest, without a newline."""
    return str(result.digest)


def names_with_digest(result: BuildResult) -> str:
    """`REGISTRY/REPOSITORY@DIGEST` of each destination, a line each, in kaniko's spelling."""
    return _lines(f"{_kaniko_name(name)}@{result.digest}" for name in result.names)


def tagged_names_with_digest(result: BuildResult) -> str:
    """The same with the tag before the digest."""
    return _lines(f"{_tagged(name)}@{result.digest}" for name in result.names)


def cloud_build_images(result: BuildResult) -> str | None:
    """Google Cloud Build's `images` file: a JSON object a line for each name that was pushed."""
    if not result.pushed:
        return None
    entries = ({"name": _tagged(name), "digest": str(result.digest)} for name in result.names)
    return _lines(_compact(entry) for entry in entries)


def metadata(result: BuildResult) -> str:
    """The JSON document of `docker buildx build --metadata-file`, with its keys."""
    return json.dumps(_metadata(result), indent=2, ensure_ascii=False)


def image_url(result: BuildResult) -> str:
    """The first name that was pushed, with its tag where it has one."""
    return str(result.names[0]) if result.pushed else ""


def image_reference(result: BuildResult) -> str:
    """The first name that was pushed, by digest."""
    return str(result.names[0].with_digest(result.digest)) if result.pushed else ""


def image_references(result: BuildResult) -> str:
    """Every repository that was pushed to, by digest, between commas; as many as a Tekton pod can tell.

    See RESULT_BYTES; `images_left_out` says how many it can't.
    """
    return ",".join(_references(result)[: _told(result)])


def images_left_out(result: BuildResult) -> int:
    """How many repositories are not in `image_references`."""
    return len(_references(result)) - _told(result)


def github_artifacts(result: BuildResult) -> str | None:
    """Subjects that actions/attest finds by itself: every repository that was pushed to, a line each."""
    return _lines(f"oci://{each}" for each in _references(result)) or None


def dotenv(result: BuildResult) -> str:
    """Variables a line each, for GitLab's `artifacts:reports:dotenv`.

    References and digests have neither quotes nor spaces nor newlines, so nothing needs escaping. Names are
    there only where the image was pushed to them.
    """
    variables = {"IMAGE_DIGEST": str(result.digest)}
    if result.config_digest is not None:
        variables["IMAGE_ID"] = str(result.config_digest)
    if result.pushed:
        first = result.names[0]
        variables |= {
            "IMAGE_URL": str(first),
            "IMAGE_NAME": first.name,
            **({"IMAGE_TAG": first.tag} if first.tag else {}),
            "IMAGE_REF": str(first.with_digest(result.digest)),
        }
    return _lines(f"{name}={value}" for name, value in variables.items())


def github_output(result: BuildResult) -> str:
    """Outputs of a step of GitHub Actions, named as those of docker/build-push-action.

    The delimiter is made of the value's own hash, so that no value can hold it.
    """
    values = {"digest": str(result.digest)}
    if result.config_digest is not None:
        values["imageid"] = str(result.config_digest)
    values["metadata"] = metadata(result)
    return "".join(_github_value(name, value) for name, value in values.items())


TEKTON_RESULTS: Mapping[str, ResultText] = MappingProxyType(
    {
        "IMAGE_URL": image_url,
        "IMAGE_DIGEST": digest_text,
        "IMAGE_REF": image_reference,
        "IMAGES": image_references,
    }
)
"""By the names that Tekton Chains looks for, and IMAGE_REF; no newline at the end of any.

All of them have a text, be it empty: a Pipeline that refers to a result that is not there fails. Chains
passes over a digest without a name, so that nothing is signed that was not pushed.
"""

RESULT_BYTES = 2048
"""What our results may take of a pod's termination messages.

Tekton fails a step whose message is above 4096 bytes, and the kubelet cuts each message to its part of
12 KiB: to 2048 bytes where the pod has six containers. Of that, Tekton itself takes some.
"""


_OTHER_BYTES = 256
"""For the time of the start, an exit code, a short result of another step."""


def _references(result: BuildResult) -> tuple[str, ...]:
    names = result.names if result.pushed else ()
    return tuple(dict.fromkeys(str(name.with_digest(result.digest)) for name in names))


def _told(result: BuildResult) -> int:
    """How many references there is room for, beside the other results."""
    others = {"IMAGES": "", "IMAGE_URL": image_url(result), "IMAGE_REF": image_reference(result)}
    entries = [{"key": key, "value": value, "type": 1} for key, value in others.items()]
    entries.append({"key": "IMAGE_DIGEST", "value": digest_text(result), "type": 1})
    room = RESULT_BYTES - _OTHER_BYTES - len(_compact(entries))
    for count, reference in enumerate(_references(result)):
        room -= len(reference) + 1
        if room < 0:
            return count
    return len(_references(result))


def _metadata(result: BuildResult) -> Mapping[str, object]:
    document: dict[str, object] = {}
    if result.config_digest is not None:
        document["containerimage.config.digest"] = str(result.config_digest)
    document["containerimage.descriptor"] = result.descriptor.to_json()
    document["containerimage.digest"] = str(result.digest)
    if result.names:
        document["image.name"] = ",".join(str(name) for name in result.names)
    return document


def _github_value(name: str, value: str) -> str:
    delimiter = f"end_{hashlib.sha256(value.encode()).hexdigest()}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def _kaniko_name(name: Reference) -> str:
    registry = _KANIKO_HUB if name.registry == DOCKER_HUB else name.registry
    return f"{registry}/{name.repository}"


def _tagged(name: Reference) -> str:
    return f"{_kaniko_name(name)}:{name.tag}" if name.tag else _kaniko_name(name)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
