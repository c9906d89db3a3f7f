"""`knarr index`, as its users run it."""

import hashlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.image_layout import MANIFEST_TYPE
from support.knarr_cli import knarr
from support.registry import Registry
from support.registry_put import put_blob, put_image, put_manifest

pytestmark = pytest.mark.registry

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
DOCKER_INDEX_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    started = Registry.start(tmp_path_factory.mktemp("registry"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def images(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of three images of `one`, tagged by their architecture."""
    context = tmp_path_factory.mktemp("context")
    (context / "file").write_text("in every image\n")
    (context / "Dockerfile").write_text(
        "FROM scratch\nARG TARGETPLATFORM\nCOPY file /\nLABEL p=${TARGETPLATFORM}\n"
    )
    return {
        tag: _build(registry, context, platform, f"one:{tag}")
        for tag, platform in (("amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("arm", "linux/arm/v6"))
    }


def _build(registry: Registry, context: Path, platform: str, name: str, *more: str) -> str:
    arguments = [f"--custom-platform={platform}", f"--destination={registry.host}/{name}", *more]
    done = knarr(["build", str(context), "--isolation=none", *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _index(arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    done = knarr(["index", *arguments])
    assert done.returncode == 0, done.stderr
    return done


def _read(registry: Registry, repository: str, selector: str, media_type: str = INDEX_TYPE) -> dict[str, Any]:
    data = registry.get(f"{repository}/manifests/{selector}", {"Accept": media_type})
    document: dict[str, Any] = json.loads(data)
    assert document["mediaType"] == media_type
    return document


def _platforms(index: dict[str, Any]) -> list[dict[str, str]]:
    return [entry["platform"] for entry in index["manifests"]]


def test_joins_by_tag_and_digest(registry: Registry, images: dict[str, str], tmp_path: Path) -> None:
    one = f"{registry.host}/one"
    done = _index(
        [
            f"{one}:amd64",
            f"{one}@{images['arm64']}",
            f"{one}:arm@{images['arm']}",
            f"--destination={one}:all",
            "--extra-tags",
            "latest",
            "all",
            "--end",
            "--annotations",
            "org.example.a=b=c",
            "org.example.d=-e",
            "--end",
            f"--digest-file={tmp_path}/digest",
        ]
    )
    index = _read(registry, "one", "all")
    assert [entry["digest"] for entry in index["manifests"]] == list(images.values())
    assert _platforms(index) == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux"},
        {"architecture": "arm", "os": "linux", "variant": "v6"},
    ]
    assert index["annotations"] == {"org.example.a": "b=c", "org.example.d": "-e"}
    assert _read(registry, "one", "latest") == index
    digest = (tmp_path / "digest").read_text()
    assert done.stdout == f"{digest}\n"
    assert _read(registry, "one", digest) == index


def test_other_programs_see_an_image_of_each_platform(registry: Registry, images: dict[str, str]) -> None:
    name = f"{registry.host}/seen:all"
    _index([*(f"{registry.host}/one:{tag}" for tag in images), f"-d={name}"])
    for architecture in ("amd64", "arm64"):
        inspect = ["skopeo", "inspect", "--tls-verify=false", f"--override-arch={architecture}"]
        done = subprocess.run([*inspect, f"docker://{name}"], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["Labels"] == {"p": f"linux/{architecture}"}


def test_result_files(registry: Registry, images: dict[str, str], tmp_path: Path) -> None:
    names = [f"{registry.host}/results:1", f"{registry.host}/results-too:2"]
    results = ("IMAGE_URL", "IMAGE_DIGEST", "IMAGE_REF", "IMAGES")
    digest = _index(
        [
            f"{registry.host}/one:amd64",
            "--destinations",
            *names,
            "--end",
            "--result-files",
            *(f"{each}={tmp_path}/{each}" for each in results),
            "--end",
            f"--metadata-file={tmp_path}/metadata",
            f"--dotenv-file={tmp_path}/dotenv",
        ]
    ).stdout.strip()
    first, second = (name.rpartition(":")[0] for name in names)
    assert {each: (tmp_path / each).read_text() for each in results} == {
        "IMAGE_URL": names[0],
        "IMAGE_DIGEST": digest,
        "IMAGE_REF": f"{first}@{digest}",
        "IMAGES": f"{first}@{digest},{second}@{digest}",
    }
    metadata = json.loads((tmp_path / "metadata").read_text())
    assert metadata["containerimage.descriptor"]["mediaType"] == INDEX_TYPE
    assert "containerimage.config.digest" not in metadata
    assert "IMAGE_ID" not in (tmp_path / "dotenv").read_text()


def test_brings_images_from_another_repository(registry: Registry, images: dict[str, str]) -> None:
    _index([*(f"{registry.host}/one:{tag}" for tag in images), f"-d={registry.host}/two/deep:1"])
    for digest in images.values():
        manifest = _read(registry, "two/deep", digest, MANIFEST_TYPE)
        for blob in (manifest["config"], *manifest["layers"]):
            assert len(registry.get(f"two/deep/blobs/{blob['digest']}")) == blob["size"]
    assert json.loads(registry.get("two/deep/tags/list"))["tags"] == ["1"]


def test_brings_images_from_another_registry(
    registry: Registry, images: dict[str, str], tmp_path: Path
) -> None:
    other = Registry.start(tmp_path)
    try:
        _index([f"{registry.host}/one:amd64", f"{registry.host}/one:arm64", f"-d={other.host}/three:1"])
        index = _read(other, "three", "1")
        for entry in index["manifests"]:
            manifest = _read(other, "three", entry["digest"], MANIFEST_TYPE)
            assert other.get(f"three/blobs/{manifest['layers'][0]['digest']}")
    finally:
        other.stop()


def test_joins_indexes(registry: Registry, images: dict[str, str]) -> None:
    one = f"{registry.host}/one"
    _index([f"{one}:amd64", f"{one}:arm", "-d", f"{one}:some"])
    _index([f"{one}:some", f"{one}:arm64", f"{one}:amd64", "-d", f"{one}:more"])
    digests = [entry["digest"] for entry in _read(registry, "one", "more")["manifests"]]
    assert digests == [images["amd64"], images["arm"], images["arm64"]]


def test_images_of_docker_make_an_index_of_docker(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    for architecture in ("amd64", "arm64"):
        _build(registry, tmp_path, architecture, f"docker:{architecture}", "--image-format=docker")
    names = [f"{registry.host}/docker:{architecture}" for architecture in ("amd64", "arm64")]
    _index([*names, f"-d={registry.host}/docker:all"])
    index = _read(registry, "docker", "all", DOCKER_INDEX_TYPE)
    assert {entry["mediaType"] for entry in index["manifests"]} == {DOCKER_TYPE}
    _index([*names, f"-d={registry.host}/docker:oci", "--annotation=a=b"])
    assert _read(registry, "docker", "oci")["annotations"] == {"a": "b"}


def test_a_single_name_is_copied_as_it_is(registry: Registry, images: dict[str, str]) -> None:
    one, copied = f"{registry.host}/one", f"{registry.host}/copied"
    _index([f"{one}:amd64", f"{one}:arm64", "-d", f"{one}:two"])
    digest = _index([f"{one}:two", "--prefer-index=false", "-d", f"{copied}:1"]).stdout
    assert _read(registry, "copied", "1") == _read(registry, "one", digest.strip())
    assert _index([f"{one}:arm", "--prefer-index=false", f"-d={copied}:2"]).stdout.strip() == images["arm"]
    assert _read(registry, "copied", "2", MANIFEST_TYPE) == _read(registry, "one", "arm", MANIFEST_TYPE)
    both = [f"{one}:arm", f"{one}:arm64", "--prefer-index=false", f"-d={copied}:3"]
    _index(both)
    assert len(_read(registry, "copied", "3")["manifests"]) == 2


def test_refuses_two_images_of_a_platform(registry: Registry, images: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL another=one\n")
    _build(registry, tmp_path, "linux/amd64", "one:another")
    names = [f"{registry.host}/one:amd64", f"{registry.host}/one:another"]
    done = knarr(["index", *names, f"-d={registry.host}/one:refused"])
    assert done.returncode == 2
    assert "two images for linux/amd64" in done.stderr
    assert "hint: an index has one image for a platform" in done.stderr
    assert "refused" not in json.loads(registry.get("one/tags/list"))["tags"]


def test_refuses_an_image_for_no_platform(registry: Registry) -> None:
    config = {"rootfs": {"type": "layers", "diff_ids": []}}
    put_image(registry.host, "nowhere", "1", config, [])
    done = knarr(["index", f"{registry.host}/nowhere:1", f"-d={registry.host}/nowhere:2"])
    assert done.returncode == 2
    assert "does not say what platform it is for" in done.stderr


def test_refuses_what_is_no_image(registry: Registry) -> None:
    layer = put_blob(
        registry.host, "chart", b"a chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": put_blob(registry.host, "chart", b"{}", "application/vnd.cncf.helm.config.v1+json"),
        "layers": [layer],
    }
    put_manifest(registry.host, "chart", "1", json.dumps(manifest).encode(), MANIFEST_TYPE)
    done = knarr(["index", f"{registry.host}/chart:1", f"-d={registry.host}/chart:2"])
    assert done.returncode == 2
    assert "is no image: its config is application/vnd.cncf.helm.config" in done.stderr


def test_keeps_attestations(registry: Registry, images: dict[str, str]) -> None:
    layer = put_blob(registry.host, "attested", b"{}", "application/vnd.in-toto+json")
    config = {"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": []}}
    put_image(registry.host, "attested", "statement", config, [layer])
    data = registry.get("attested/manifests/statement", {"Accept": MANIFEST_TYPE})
    _index([f"{registry.host}/one:amd64", f"-d={registry.host}/attested:plain"])
    document = _read(registry, "attested", "plain")
    annotations = {
        "vnd.docker.reference.digest": images["amd64"],
        "vnd.docker.reference.type": "attestation-manifest",
    }
    entry = {
        "mediaType": MANIFEST_TYPE,
        "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "size": len(data),
        "annotations": annotations,
        "platform": {"architecture": "unknown", "os": "unknown"},
    }
    document["manifests"].append(entry)
    put_manifest(registry.host, "attested", "both", json.dumps(document).encode(), INDEX_TYPE)
    _index([f"{registry.host}/attested:both", f"{registry.host}/one:arm64", f"-d={registry.host}/joined:1"])
    joined = _read(registry, "joined", "1")
    assert joined["manifests"][1] == entry
    assert _read(registry, "joined", str(entry["digest"]), MANIFEST_TYPE)["layers"] == [layer]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["-d=x:1"], 2, "index takes the images"),
        (["x:1", "-d=x:2", "--annotation=a=b", "--prefer-index=false"], 2, "does not go with"),
        (["x:1"], 2, "at least one --destination"),
        (["x:1", "-d=x@sha256:" + "0" * 64], 2, "not a digest"),
        (["X:1", "-d=x:1"], 2, "not an image reference"),
        (["{host}/one:none", "-d={host}/one:x"], 5, "one:none"),
        (["{host}/one:amd64", "-d={host}/one:x", "--digest-file=/etc/passwd/digest"], 9, "--digest-file"),
    ],
)
def test_explains(
    registry: Registry, images: dict[str, str], arguments: list[str], status: int, message: str
) -> None:
    done = knarr(["index", *(each.replace("{host}", registry.host) for each in arguments)])
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "x" not in json.loads(registry.get("one/tags/list"))["tags"]
