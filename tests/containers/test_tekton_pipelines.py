"""The Tekton Pipelines as a whole, each from its sample: what they leave in the registry."""

import base64
import io
import json
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts.bump_image import image_name

from support.bases import cache_directory
from support.git_repositories import COMMIT_TIME_S, GitOverHttp, Repository, git_daemon
from support.image_layout import INDEX_TYPE, MANIFEST_TYPE
from support.object_store import object_store
from support.pipelinerun import FAILED, SKIPPED, SUCCEEDED, PipelineRunner
from support.registry import Registry, make_certificates
from support.secret_volume import secret_volume
from support.taskrun import TaskRunner, load_task
from support.tekton_files import TASKS
from support.tekton_variables import Value

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

REPOSITORY = Path(__file__).parents[2]
USER, PASSWORD = "sailor", "pass word'$x"
EMULATED = ("/emulator", "/knarr/bin/python3.11", "-ISBXutf8")
SCANNER = """\
#!/bin/sh
# Knows one weakness, a file of that name, and takes no image but by digest.
set -eu
[ "$1 $2 $3" = "image --exit-code=1 --severity=HIGH,CRITICAL" ]
url="http://${4%@*}"
name="${url#http://*/}"
url="${url%/$name}/v2/$name"
echo "scanning ${4#*@}"
type='Accept: application/vnd.oci.image.manifest.v1+json'
wget -q -O "$HOME/manifest" --header "$type" "$url/manifests/${4#*@}"
for digest in $(grep -o 'sha256:[0-9a-f]*' "$HOME/manifest" | tail -n +2); do
  wget -q -O "$HOME/layer" "$url/blobs/$digest"
  if tar -tzf "$HOME/layer" | grep -q weakness; then
    echo "a weakness in $digest" >&2
    exit 1
  fi
done
"""


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    started = Registry.start(tmp_path_factory.mktemp("locked"), auth=(USER, "secret"), tls=True)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def arm64(base_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of the executor's image for arm64, where the engine pulls from."""
    output = tmp_path_factory.mktemp("arm64")
    command = [sys.executable, "-m", "scripts.image", f"--output={output}", "--architecture=arm64"]
    downloads = f"--downloads={cache_directory()}/image-downloads"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "executor")}
    subprocess.run(
        [*command, downloads], check=True, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL
    )
    archive = f"docker-archive:{output}/executor-arm64.tar:docker.io/knarr/executor:debug"
    copy = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", archive]
    subprocess.run([*copy, f"docker://{base_registry.host}/library/executor-arm64:latest"], check=True)
    return "executor-arm64"


def sample(name: str, params: Mapping[str, Value]) -> dict[str, Any]:
    """The sample of a Pipeline with these parameters; those of the sample that are not given go."""
    document: dict[str, Any] = yaml.safe_load((TASKS / f"pipelines/{name}/0.1/samples/run.yaml").read_text())
    assert document["spec"]["pipelineRef"] == {"name": name}
    document["spec"]["params"] = [{"name": key, "value": value} for key, value in params.items()]
    return document


def bind(run: dict[str, Any], workspace: str, **source: Any) -> None:
    """Bind one more workspace, or the same to something else."""
    others = [each for each in run["spec"].get("workspaces", []) if each["name"] != workspace]
    run["spec"]["workspaces"] = [*others, {"name": workspace, **source}]


def unbind(run: dict[str, Any], workspace: str) -> None:
    run["spec"]["workspaces"] = [each for each in run["spec"]["workspaces"] if each["name"] != workspace]


def read(registry: Registry, path: str, media_type: str = MANIFEST_TYPE) -> dict[str, Any]:
    """A document of a registry, locked or not."""
    scheme = "https" if registry.ca_file else "http"
    auth = base64.b64encode(f"{USER}:secret".encode()).decode()
    request = urllib.request.Request(
        f"{scheme}://{registry.host}/v2/{path}",
        headers={"Accept": media_type, "Authorization": f"Basic {auth}"},
    )
    context = ssl.create_default_context(cafile=registry.ca_file) if registry.ca_file else None
    with urllib.request.urlopen(request, timeout=20, context=context) as response:
        document: dict[str, Any] = json.loads(response.read())
    return document


def is_there(registry: Registry, path: str) -> bool:
    try:
        read(registry, path)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return False
    return True


def test_clone_build_push(
    pipelines: PipelineRunner, base_registry: Registry, locked: Registry, tmp_path: Path
) -> None:
    """From a private repository to a private registry, both with a company's certificates."""
    commit = Repository.create(tmp_path / "git/app").commit(
        {
            "app/Dockerfile": f"FROM {base_registry.host}/library/busybox\nARG WHO\n"
            "RUN echo $WHO > /who && test ! -e /workspace/basic-auth\nCOPY file /\n",
            "app/file": "one",
        }
    )
    ca, certificate, key = make_certificates(_directory(tmp_path / "git-ca"))
    host = f"registry.test:{locked.host.rpartition(':')[2]}"
    assert locked.ca_file is not None
    auth = base64.b64encode(f"{USER}:secret".encode()).decode()
    volumes = {
        "registry-credentials": {".dockerconfigjson": json.dumps({"auths": {host: {"auth": auth}}})},
        "git-credentials": {"username": USER, "password": PASSWORD},
        "certificates": {"git": ca.read_text(), "registry.pem": locked.ca_file.read_text()},
    }
    runner = replace(
        pipelines, volumes={name: secret_volume(tmp_path / name, each) for name, each in volumes.items()}
    )
    with GitOverHttp(tmp_path / "git", userinfo=f"{USER}:{PASSWORD}", tls=(certificate, key)) as server:
        params: dict[str, Value] = {
            "URL": f"https://{server.host}/app/.git",
            "REVISION": "main",
            "IMAGE": f"{host}/team/app:1.0",
            "CONTEXT": "app",
            "BUILD_ARGS": ["WHO=two words"],
        }
        run = sample("knarr-clone-build-push", params)
        bind(run, "git-basic-auth", secret={"secretName": "git-credentials"})
        bind(run, "ssl-ca-directory", configMap={"name": "certificates"})
        outcome = runner.run(run)
        assert outcome.status == SUCCEEDED, outcome.log
        again = replace(runner, directory=tmp_path / "again").run(run)
    manifest = read(locked, "team/app/manifests/1.0")
    config = read(locked, f"team/app/blobs/{manifest['config']['digest']}")
    assert outcome.results == {
        "IMAGE_URL": f"{host}/team/app:1.0",
        "IMAGE_DIGEST": again.results["IMAGE_DIGEST"],
        "CHAINS-GIT_URL": params["URL"],
        "CHAINS-GIT_COMMIT": commit,
    }
    assert read(locked, f"team/app/manifests/{outcome.results['IMAGE_DIGEST']}") == manifest
    assert config["created"] == "2020-02-01T03:04:05Z"
    assert [each["created_by"] for each in config["history"]][-1].startswith("COPY file /")
    assert read(locked, "team/app/cache/tags/list")["tags"]
    assert PASSWORD not in outcome.log + again.log
    assert str(COMMIT_TIME_S) in json.dumps(outcome.tasks["fetch"].results)


def test_fetch_build(pipelines: PipelineRunner, base_registry: Registry, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        content = b"FROM scratch\nCOPY Dockerfile /made/of\n"
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "bucket-word"}
    volumes = {"bucket-credentials": secret_volume(tmp_path / "keys", keys)}
    with object_store({"builds": {"app/context.tar.gz": packed.getvalue()}}) as address:
        params = {
            "URL": "s3://builds/app/context.tar.gz",
            "S3_ENDPOINT": address,
            "IMAGE": f"{base_registry.host}/fetched/app:1.0",
        }
        run = sample("knarr-fetch-build", {**params, "CHECKSUM": "0" * 64})
        unbind(run, "dockerconfig")
        refused = replace(pipelines, volumes=volumes).run(run)
        assert (refused.status, refused.results) == (FAILED, {})
        assert refused.tasks["build"].status == SKIPPED
        assert not is_there(base_registry, "fetched/app/manifests/1.0")
        run = sample("knarr-fetch-build", params)
        unbind(run, "dockerconfig")
        outcome = replace(pipelines, volumes=volumes, directory=tmp_path / "again").run(run)
    assert outcome.status == SUCCEEDED, outcome.log
    manifest = read(base_registry, f"fetched/app/manifests/{outcome.results['IMAGE_DIGEST']}")
    assert manifest == read(base_registry, "fetched/app/manifests/1.0")
    config = read(base_registry, f"fetched/app/blobs/{manifest['config']['digest']}")
    assert config["history"][-1]["created_by"].startswith("COPY Dockerfile /made/of")
    assert "bucket-word" not in outcome.log


def test_multi_arch(pipelines: PipelineRunner, arm64: str, base_registry: Registry, tmp_path: Path) -> None:
    """Two legs on nodes of their own: on the second the executor's image for arm64 runs, by an emulator."""
    Repository.create(tmp_path / "git/app").commit(
        {"Dockerfile": f"FROM {base_registry.host}/library/multiarch\nCOPY file /\n", "file": "one"}
    )
    emulator = shutil.which("qemu-aarch64-static")
    assert emulator is not None
    native = pipelines.nodes[""]
    other = replace(
        native,
        images={**native.images, image_name(): arm64},
        interpreters={arm64: EMULATED},
        options=[*native.options, f"--volume={emulator}:/emulator:ro"],
    )
    with git_daemon(tmp_path / "git") as address:
        params = {"URL": f"{address}/app", "IMAGE": f"{base_registry.host}/platforms/app:1.0"}
        run = sample("knarr-multi-arch", params)
        unbind(run, "dockerconfig")
        outcome = replace(pipelines, nodes={"amd64": native, "arm64": other}).run(run)
    assert outcome.status == SUCCEEDED, outcome.log
    assert outcome.tasks["build"].nodes == ["amd64", "arm64"]
    assert outcome.tasks["index"].nodes == [""]
    index = read(base_registry, f"platforms/app/manifests/{outcome.results['IMAGE_DIGEST']}", INDEX_TYPE)
    assert index == read(base_registry, "platforms/app/manifests/1.0", INDEX_TYPE)
    references = outcome.tasks["build"].results["IMAGE_REF"]
    for architecture, reference, descriptor in zip(
        ("amd64", "arm64"), references, index["manifests"], strict=True
    ):
        assert descriptor["platform"] == {"os": "linux", "architecture": architecture}
        assert reference == f"{base_registry.host}/platforms/app@{descriptor['digest']}"
        manifest = read(base_registry, f"platforms/app/manifests/{descriptor['digest']}")
        config = read(base_registry, f"platforms/app/blobs/{manifest['config']['digest']}")
        assert config["architecture"] == architecture
        assert config["history"][-1]["created_by"].startswith("COPY file /")
        assert is_there(base_registry, f"platforms/app/manifests/1.0-{architecture}")


def test_multi_arch_keeps_credentials_apart(
    pipelines: PipelineRunner, base_registry: Registry, tmp_path: Path
) -> None:
    """Both steps are in one pod: a RUN step, root in the container of the build, finds no password of git."""
    look = 'RUN test -z "$(find /workspace -type f)" && ! grep -rs "$WORD" /tekton /workspace\n'
    dockerfile = f"FROM {base_registry.host}/library/busybox\nENV WORD=git-word\n{look}"
    Repository.create(tmp_path / "git/app").commit({"Dockerfile": dockerfile})
    volumes = {"git": secret_volume(tmp_path / "secret", {"username": USER, "password": "git-word"})}
    with GitOverHttp(tmp_path / "git", userinfo=f"{USER}:git-word") as server:
        params: dict[str, Value] = {
            "URL": f"http://{server.host}/app/.git",
            "IMAGE": f"{base_registry.host}/apart/app:1.0",
            "ARCHITECTURES": ["amd64"],
        }
        run = sample("knarr-multi-arch", params)
        del run["spec"]["taskRunSpecs"]
        unbind(run, "dockerconfig")
        bind(run, "git-basic-auth", secret={"secretName": "git"})
        outcome = replace(pipelines, volumes=volumes).run(run)
    assert outcome.status == SUCCEEDED, outcome.log
    assert "git-word" not in outcome.log.replace("ENV WORD=git-word", "")


@pytest.fixture
def scanner(runner: TaskRunner, base_registry: Registry, tmp_path: Path) -> str:
    """An image that stands in for Trivy's, built with the Task that is here."""
    source = _directory(tmp_path / "scanner")
    (source / "trivy").write_text(SCANNER)
    dockerfile = f"FROM {base_registry.host}/library/busybox\nCOPY --chmod=755 trivy /usr/local/bin/trivy\n"
    (source / "Dockerfile").write_text(f"{dockerfile}ENV PATH=/usr/local/bin:/usr/bin:/bin:/sbin\n")
    task = load_task(TASKS / "knarr-build/0.1/knarr-build.yaml")
    image = f"{base_registry.host}/scanner:1"
    runner.run(task, {"IMAGE": image}, {"source": source})
    return image


def test_build_scan_promote(
    pipelines: PipelineRunner, scanner: str, base_registry: Registry, tmp_path: Path
) -> None:
    repository = Repository.create(tmp_path / "git/app")
    weak = repository.commit({"Dockerfile": "FROM scratch\nCOPY . /app/\n", "weakness": "x"})
    repository.git("rm", "-q", "weakness")
    repository.commit({"file": "mended"})
    host = base_registry.host
    with git_daemon(tmp_path / "git") as address:
        params = {
            "URL": f"{address}/app",
            "CANDIDATE": f"{host}/scan/candidates:1.0",
            "IMAGE": f"{host}/scan/app:1.0",
            "SCANNER_IMAGE": scanner,
        }
        run = sample("knarr-build-scan-promote", {**params, "REVISION": weak})
        unbind(run, "dockerconfig")
        failed = pipelines.run(run)
        assert is_there(base_registry, "scan/candidates/manifests/1.0")
        assert not is_there(base_registry, "scan/app/manifests/1.0")
        run = sample("knarr-build-scan-promote", params)
        unbind(run, "dockerconfig")
        passed = replace(pipelines, directory=tmp_path / "again").run(run)
    assert (failed.status, failed.results) == (FAILED, {})
    assert "a weakness in sha256:" in failed.tasks["scan"].log
    assert [failed.tasks[name].status for name in ("build", "scan", "promote")] == [
        SUCCEEDED,
        FAILED,
        SKIPPED,
    ]
    assert passed.status == SUCCEEDED, passed.log
    digest = passed.results["IMAGE_DIGEST"]
    assert passed.results["IMAGE_URL"] == params["IMAGE"]
    assert f"scanning {digest}\n" in passed.tasks["scan"].log
    assert digest == passed.tasks["build"].results["IMAGE_DIGEST"]
    assert digest != failed.tasks["build"].results["IMAGE_DIGEST"]
    manifest = read(base_registry, f"scan/app/manifests/{digest}")
    assert manifest == read(base_registry, "scan/app/manifests/1.0")
    assert manifest == read(base_registry, f"scan/candidates/manifests/{digest}")


def _directory(path: Path) -> Path:
    path.mkdir()
    path.chmod(0o777)
    return path
