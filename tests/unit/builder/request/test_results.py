"""The texts that a pipeline is told."""

import io
import json
from dataclasses import replace

import pytest

from knarr.builder.request import results
from knarr.builder.request.results import TEKTON_RESULTS, BuildResult
from knarr.images.image import FinishedImage, Image
from knarr.oci.image_config import ImageConfig
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference

IMAGE = FinishedImage.of(Image(ImageConfig.scratch(Platform("linux", "arm64"))), lambda _: io.BytesIO())
NAMES = tuple(Reference.parse(text) for text in ("x:1", "registry.test:5000/a/b:2", "x:3"))
PUSHED = BuildResult(IMAGE.descriptor, NAMES, pushed=True, config_digest=IMAGE.config_digest)
KEPT = replace(PUSHED, pushed=False)
DIGEST = str(IMAGE.descriptor.digest)
IMAGE_ID = str(IMAGE.config_digest)


def test_kaniko_files() -> None:
    assert results.digest_text(KEPT) == DIGEST
    assert results.names_with_digest(KEPT) == (
        f"index.docker.io/library/x@{DIGEST}\n"
        f"registry.test:5000/a/b@{DIGEST}\n"
        f"index.docker.io/library/x@{DIGEST}\n"
    )
    assert results.tagged_names_with_digest(KEPT) == (
        f"index.docker.io/library/x:1@{DIGEST}\n"
        f"registry.test:5000/a/b:2@{DIGEST}\n"
        f"index.docker.io/library/x:3@{DIGEST}\n"
    )


def test_cloud_build() -> None:
    first, second, _ = (results.cloud_build_images(PUSHED) or "").splitlines()
    assert first == f'{{"name":"index.docker.io/library/x:1","digest":"{DIGEST}"}}'
    assert json.loads(second)["name"] == "registry.test:5000/a/b:2"
    assert results.cloud_build_images(KEPT) is None


def test_metadata() -> None:
    document = json.loads(results.metadata(PUSHED))
    assert document == {
        "containerimage.config.digest": IMAGE_ID,
        "containerimage.descriptor": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": DIGEST,
            "size": len(IMAGE.manifest_bytes),
            "platform": {"architecture": "arm64", "os": "linux"},
        },
        "containerimage.digest": DIGEST,
        "image.name": "docker.io/library/x:1,registry.test:5000/a/b:2,docker.io/library/x:3",
    }
    assert "image.name" not in json.loads(results.metadata(BuildResult(IMAGE.descriptor, (), pushed=False)))


def test_dotenv() -> None:
    assert results.dotenv(PUSHED) == (
        f"IMAGE_DIGEST={DIGEST}\n"
        f"IMAGE_ID={IMAGE_ID}\n"
        "IMAGE_URL=docker.io/library/x:1\n"
        "IMAGE_NAME=docker.io/library/x\n"
        "IMAGE_TAG=1\n"
        f"IMAGE_REF=docker.io/library/x@{DIGEST}\n"
    )
    assert results.dotenv(KEPT) == f"IMAGE_DIGEST={DIGEST}\nIMAGE_ID={IMAGE_ID}\n"


def read_github_output(text: str) -> dict[str, str]:
    """Read the file as the runner does: a name with a delimiter, lines up to the delimiter."""
    values: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, separator, delimiter = line.partition("<<")
        assert separator
        value: list[str] = []
        for inner in lines:
            if inner == delimiter:
                break
            value.append(inner)
        else:
            raise AssertionError(f"{name} has no end")
        values[name] = "\n".join(value)
    return values


def test_github_output() -> None:
    values = read_github_output(results.github_output(PUSHED))
    assert set(values) == {"digest", "imageid", "metadata"}
    assert (values["digest"], values["imageid"]) == (DIGEST, IMAGE_ID)
    assert json.loads(values["metadata"])["containerimage.digest"] == DIGEST


def test_github_artifacts() -> None:
    assert results.github_artifacts(PUSHED) == (
        f"oci://docker.io/library/x@{DIGEST}\noci://registry.test:5000/a/b@{DIGEST}\n"
    )
    assert results.github_artifacts(KEPT) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("IMAGE_URL", "docker.io/library/x:1"),
        ("IMAGE_DIGEST", DIGEST),
        ("IMAGE_REF", f"docker.io/library/x@{DIGEST}"),
        ("IMAGES", f"docker.io/library/x@{DIGEST},registry.test:5000/a/b@{DIGEST}"),
    ],
)
def test_tekton_results(name: str, text: str) -> None:
    assert TEKTON_RESULTS[name](PUSHED) == text
    assert TEKTON_RESULTS[name](KEPT) == (DIGEST if name == "IMAGE_DIGEST" else "")


def test_tekton_results_fit_into_a_message() -> None:
    """Of the pod with the most containers that is planned for; see RESULT_BYTES."""
    names = tuple(Reference.parse(f"registry.test:5000/team-{number}/app:1") for number in range(60))
    result = BuildResult(IMAGE.descriptor, names, pushed=True)
    entries = [{"key": key, "value": text(result), "type": 1} for key, text in TEKTON_RESULTS.items()]
    message = json.dumps(entries, separators=(",", ":"))
    assert 1600 < len(message) < results.RESULT_BYTES - 200
    told = results.image_references(result).split(",")
    assert told == [f"registry.test:5000/team-{number}/app@{DIGEST}" for number in range(len(told))]
    assert results.images_left_out(result) == 60 - len(told)
    assert results.images_left_out(PUSHED) == 0
    artifacts = results.github_artifacts(result)
    assert artifacts is not None
    assert len(artifacts.splitlines()) == 60


def test_the_longest_names_leave_no_room_for_images() -> None:
    name = Reference.parse("h" * 63 + "." + "h" * 63 + "/" + "r" * 200 + ":" + "t" * 128)
    many = tuple(Reference.parse(f"x{number}/{name.repository}:1") for number in range(8))
    result = BuildResult(IMAGE.descriptor, (name, *many), pushed=True)
    entries = [{"key": key, "value": text(result), "type": 1} for key, text in TEKTON_RESULTS.items()]
    assert len(json.dumps(entries, separators=(",", ":"))) < results.RESULT_BYTES
    assert results.image_url(result) == str(name)
