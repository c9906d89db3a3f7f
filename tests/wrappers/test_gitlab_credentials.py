"""What a GitLab job takes from GitLab to reach registries: credentials, certificates, proxies."""

import json
import shutil
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import gitlab_template
from support.bases import base, cache_directory
from support.ci_tools import commit, run_gitlab
from support.connect_proxy import connect_proxy
from support.docker_engine import Engine
from support.knarr_cli import knarr
from support.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.runner]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
USER, PASSWORD = "gitlab-ci-token", 'job "token"; x'
GROUP = "group/dependency_proxy/containers"
PROXY_USER, PROXY_PASSWORD = "proxy", "of the proxy"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The project's registry."""
    registry = Registry.start(tmp_path_factory.mktemp("own"), auth=(USER, PASSWORD))
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def dependency_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with a base image, on the same host, for another user."""
    registry = Registry.start(tmp_path_factory.mktemp("proxy"), auth=(PROXY_USER, PROXY_PASSWORD))
    layout = base("busybox", cache_directory()).layout
    name = f"{registry.host}/{GROUP}/busybox"
    login = {"DOCKER_AUTH_CONFIG": _auths(registry.host, PROXY_USER, PROXY_PASSWORD)}
    done = knarr(["push", str(layout), "--insecure", f"--destination={name}"], environment=login)
    assert done.returncode == 0, done.stderr
    yield registry
    registry.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    shutil.copy(gitlab_template.TEMPLATE, directory / "knarr.yml")
    (directory / "file").write_text("of the project\n")
    (directory / "Dockerfile").write_text("ARG BASE=scratch\nFROM $BASE\nCOPY file /\n")
    return directory


def _auths(host: str, user: str, password: str) -> str:
    auth = b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth}}})


def _write_pipeline(project: Path, inputs: Mapping[str, Any]) -> None:
    pipeline = {"include": [{"local": "knarr.yml", "inputs": dict(inputs)}]}
    (project / ".gitlab-ci.yml").write_text(yaml.safe_dump(pipeline))
    commit(project)


def _login(user: str, password: str) -> Mapping[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


def test_dependency_proxy_and_the_own_registry(
    project: Path, own: Registry, dependency_proxy: Registry
) -> None:
    """Each gets its own credentials, though both are on one host."""
    _write_pipeline(
        project,
        {
            "tags": "$CI_REGISTRY_IMAGE:1",
            "build-args": "BASE=$CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX/busybox",
            "registry-args": "--insecure\n--insecure-pull",
            "cache": True,
            "extra-args": "--cache-copy-layers",
        },
    )
    variables = {
        "CI_REGISTRY": own.host,
        "CI_REGISTRY_IMAGE": f"{own.host}/team/app",
        "CI_REGISTRY_USER": USER,
        "CI_REGISTRY_PASSWORD": PASSWORD,
        "CI_DEPENDENCY_PROXY_SERVER": dependency_proxy.host,
        "CI_DEPENDENCY_PROXY_USER": PROXY_USER,
        "CI_DEPENDENCY_PROXY_PASSWORD": PROXY_PASSWORD,
        "CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX": f"{dependency_proxy.host}/{GROUP}",
    }
    done = run_gitlab(project, variables=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert PROXY_PASSWORD not in done.stdout + done.stderr
    manifest = json.loads(own.get("team/app/manifests/1", {"Accept": MANIFEST, **_login(USER, PASSWORD)}))
    assert len(manifest["layers"]) > 1, "the base is there"
    tags = json.loads(own.get("team/app/cache/tags/list", _login(USER, PASSWORD)))["tags"]
    assert len(tags) == 1


@pytest.mark.parametrize("kind", ["variable", "file"])
def test_docker_auth_config(project: Path, own: Registry, kind: str) -> None:
    """It comes before what the job has for the project's registry."""
    text = _auths(own.host, USER, PASSWORD)
    path = project.parent / "auth.json"
    path.write_text(text)
    _write_pipeline(project, {"tags": f"{own.host}/other/{kind}:1", "registry-args": "--insecure"})
    variables = {
        "DOCKER_AUTH_CONFIG": text if kind == "variable" else str(path),
        "CI_REGISTRY": own.host,
        "CI_REGISTRY_USER": USER,
        "CI_REGISTRY_PASSWORD": "another",
    }
    done = run_gitlab(project, variables=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    own.get(f"other/{kind}/manifests/1", {"Accept": MANIFEST, **_login(USER, PASSWORD)})


@pytest.mark.docker
@pytest.mark.root
@pytest.mark.parametrize("variable", ["CI_SERVER_TLS_CA_FILE", "CUSTOM_CA_CERTS"])
def test_certificates_and_a_proxy(
    project: Path, engine: Engine, base_registry: Registry, company_registry: Registry, variable: str
) -> None:
    """In a container that only the proxy can tell where the registry is."""
    assert company_registry.ca_file is not None
    (project / "Dockerfile").write_text(
        'FROM busybox\nRUN test "${HTTPS_PROXY%%1*}" = http:// && test -z "$HTTP_PROXY"\n'
    )
    shutil.copy(company_registry.ca_file, project / "gitlab.pem")
    port = company_registry.host.rpartition(":")[2]
    _write_pipeline(
        project,
        {
            "executor-image": "knarr/executor:debug",
            "tags": f"registry.test:{port}/gitlab/{variable.lower()}:1",
            "registry-args": f"--registry-map=docker.io={base_registry.host}\n"
            f"--insecure-registry={base_registry.host}",
        },
    )
    text = company_registry.ca_file.read_text()
    with connect_proxy({"registry.test": "127.0.0.1"}) as proxy:
        given = {"CI_SERVER_TLS_CA_FILE": "gitlab.pem", "CUSTOM_CA_CERTS": text}[variable]
        variables = {variable: given, "HTTPS_PROXY": proxy.url, "NO_PROXY": "127.0.0.1"}
        done = run_gitlab(project, variables=variables, docker_host=engine.url)
    assert done.returncode == 0, done.stdout + done.stderr
    name = f"gitlab/{variable.lower()}"
    manifest = json.loads(company_registry.get(f"{name}/manifests/1", {"Accept": MANIFEST}))
    config = company_registry.get(f"{name}/blobs/{manifest['config']['digest']}").decode()
    assert proxy.url not in config
    assert set(proxy.asked) == {f"registry.test:{port}"}
