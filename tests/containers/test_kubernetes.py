"""The samples for Kubernetes: valid for the API server, and run as pods by podman."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from scripts.bump_image import image_name

from support.bases import base, cache_directory, push
from support.git_repositories import Repository, git_daemon
from support.podman import Podman
from support.pushed import pushed_image
from support.registry import Registry

SAMPLES = Path(__file__).parents[2] / "samples/kubernetes"
DOCUMENT = Path(__file__).parents[2] / "docs/kubernetes.md"
DOCKERFILE = "FROM busybox\nRUN id -u > /user && chown 7:7 /user\nCOPY file /\n"
USER = ("sailor", "a pass:word")
BASELINE = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}

pytestmark = [pytest.mark.podman, pytest.mark.registry, pytest.mark.root]

each_sample = pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)

Document = dict[str, Any]


def _documents(path: Path) -> list[Document]:
    return list(yaml.safe_load_all(path.read_text()))


def _pods() -> Iterator[Document]:
    for path in sorted(SAMPLES.glob("*.yaml")):
        for document in _documents(path):
            spec: Document = document.get("spec", {})
            pod = spec.get("template", {}).get("spec") if document["kind"] == "Job" else spec
            if pod and "containers" in pod:
                yield pod


@each_sample
def test_the_api_server_would_take_it(sample: Path) -> None:
    for document in _documents(sample):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_pods_keep_to_the_baseline_and_hold_no_token() -> None:
    pods = list(_pods())
    assert len(pods) == 2
    for pod in pods:
        assert pod["restartPolicy"] == "Never"
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
        (container,) = pod["containers"]
        assert container["image"] == image_name()
        assert {"memory", "ephemeral-storage"} == container["resources"]["limits"].keys()
        context = container["securityContext"]
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not context["privileged"]
        assert set(context.get("capabilities", {}).get("add", ())) <= BASELINE


def test_names_in_the_document_are_those_of_the_samples() -> None:
    text = DOCUMENT.read_text()
    assert image_name() in text
    for path in SAMPLES.glob("*.yaml"):
        assert f"samples/kubernetes/{path.name}" in text


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    started = Registry.start(tmp_path_factory.mktemp("locked"), auth=USER)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def locked_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    started = Registry.start(tmp_path_factory.mktemp("locked"), auth=USER, tls=True)
    yield started
    started.stop()


def _secret(podman: Podman, host: str, key: str) -> None:
    auth = base64.b64encode(":".join(USER).encode()).decode()
    text = json.dumps({"auths": {host: {"auth": auth}}})
    podman.secret(
        "registry-credentials",
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "registry-credentials"},
                "data": {key: text},  # podman 4.3 does not decode base64
            }
        ),
    )


def _here(text: str, names: Mapping[str, str]) -> str:
    for name, replacement in names.items():
        assert name in text
        text = text.replace(name, replacement)
    return text


def _as_pod(document: Document, arguments: list[str]) -> Document:
    """The pod of a Job, or a Pod, in the network of this machine."""
    spec = document["spec"]["template"]["spec"] if document["kind"] == "Job" else document["spec"]
    spec["hostNetwork"] = True
    spec["containers"][0]["args"] += arguments
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "knarr-build"}, "spec": spec}


@pytest.mark.parametrize("key", ["config.json", ".dockerconfigjson"])
def test_the_pod_fetches_builds_and_pushes(
    podman: Podman, base_registry: Registry, locked: Registry, tmp_path: Path, key: str
) -> None:
    push([base("tools", cache_directory())], base_registry.host)
    Repository.create(tmp_path / "git/app").commit({"Dockerfile": DOCKERFILE, "file": "from git\n"})
    _secret(podman, locked.host, key)
    with git_daemon(tmp_path / "git") as address:
        names = {
            image_name(): "docker.io/knarr/executor:debug",
            "docker.io/alpine/git:2.47.2": f"{base_registry.host}/library/tools:latest",
            'args: ["clone"': 'command: ["git"]\n      args: ["clone"',
            "https://git.example.com/team/app.git": f"{address}/app",
            "registry.example.com": locked.host,
        }
        (document,) = yaml.safe_load_all(_here((SAMPLES / "pod.yaml").read_text(), names))
        pod = _as_pod(document, [f"--registry-map=docker.io={base_registry.host}"])
        statuses = podman.play("knarr-build", yaml.safe_dump(pod))
    assert statuses["knarr-build-knarr"] == 0
    image = pushed_image(locked, "team/app:1", tmp_path / "image", user=USER)
    assert image.files["/file"].text == "from git\n"
    assert (image.files["/user"].text, image.files["/user"].uid) == ("0\n", 7)


def test_the_job_builds_from_a_claim_with_certificates_and_a_cache(
    podman: Podman, base_registry: Registry, locked_tls: Registry, tmp_path: Path
) -> None:
    context, cache = podman.volume("knarr-context"), podman.volume("knarr-cache")
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "file").write_text("from the claim\n")
    host = locked_tls.host
    _secret(podman, host, ".dockerconfigjson")
    names = {image_name(): "docker.io/knarr/executor:debug", "registry.example.com": host}
    (job,) = yaml.safe_load_all(_here((SAMPLES / "job.yaml").read_text(), names))
    (certificates,) = _documents(SAMPLES / "certificates.yaml")
    assert locked_tls.ca_file is not None
    certificates["data"]["company.pem"] = locked_tls.ca_file.read_text()
    # Registries on loopback are spoken to without TLS unless a flag says more of it.
    certificate = f"--registry-certificate={host}=/kaniko/ssl/certs/company.pem"
    pod = _as_pod(job, [f"--registry-map=docker.io={base_registry.host}", certificate])
    assert podman.play("knarr-build", yaml.safe_dump_all([certificates, pod])) == {"knarr-build-knarr": 0}
    image = pushed_image(locked_tls, "team/app:1", tmp_path / "image", user=USER)
    assert image.files["/file"].text == "from the claim\n"
    assert list((cache / "layers").glob("*/index.json"))
    assert sorted(path.name for path in context.iterdir()) == ["Dockerfile", "file"]
