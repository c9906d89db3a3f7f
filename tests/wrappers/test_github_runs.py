"""Workflows that use the actions by OWNER/knarr/github-actions/NAME@v1, run by act."""

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.ci_tools import OWN_PATH, commit, run_act
from support.connect_proxy import connect_proxy
from support.docker_engine import Engine
from support.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.runner]

REPOSITORY = Path(__file__).parents[2]
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE = "knarr/executor:debug"
PASSWORD = "password"
AUTH = b64encode(f"user:{PASSWORD}".encode()).decode()
SHOW = {"run": 'echo "digest=$DIGEST"', "env": {"DIGEST": "${{ steps.build.outputs.digest }}"}}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry.start(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()


@pytest.fixture
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants credentials."""
    registry = Registry.start(tmp_path_factory.mktemp("closed"), auth=("user", PASSWORD))
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def actions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the actions alone: act copies all of it."""
    directory = tmp_path_factory.mktemp("actions")
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "github-actions", directory / "github-actions", ignore=leave)
    commit(directory)
    return directory


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    (directory / ".github/workflows").mkdir(parents=True)
    (directory / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    (directory / "file").write_text("of the project\n")
    return directory


def _use(action: str, given: Mapping[str, str]) -> dict[str, Any]:
    return {"uses": f"OWNER/knarr/github-actions/{action}@v1", "id": action, "with": dict(given)}


def _write_workflow(project: Path, *steps: Mapping[str, Any]) -> None:
    job = {"runs-on": "ubuntu-latest", "steps": [{"uses": "actions/checkout@v4"}, *steps]}
    (project / ".github/workflows/image.yml").write_text(
        yaml.safe_dump({"on": "push", "jobs": {"image": job}})
    )
    commit(project)


def _log_in(project: Path, host: str) -> None:
    config = project.parent / "home/.docker/config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"auths": {host: {"auth": AUTH}}}))


def test_where_the_executor_is_there(project: Path, actions: Path, registry: Registry) -> None:
    tags = "${{ vars.HOST }}/Team/App:1,${{ vars.HOST }}/Team/App:2"
    flags = "--insecure-registry=${{ vars.HOST }}"
    _write_workflow(
        project,
        _use("build", {"push": "true", "tags": tags, "labels": "text=a; `id`", "extra-args": flags}),
        _use(
            "index",
            {
                "images": "${{ vars.HOST }}/team/app@${{ steps.build.outputs.digest }}",
                "tags": "${{ vars.HOST }}/team/app:index",
                "extra-args": flags,
            },
        ),
        SHOW,
    )
    subjects = project.parent / "subjects"
    subjects.write_text("dist/app\n")
    done = run_act(
        project,
        actions=actions,
        variables={"HOST": registry.host},
        environment={"GITHUB_ARTIFACTS": str(subjects)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads(registry.get("team/app/manifests/2", {"Accept": MANIFEST}))
    config = json.loads(registry.get(f"team/app/blobs/{manifest['config']['digest']}"))
    assert config["config"]["Labels"]["text"] == "a; `id`"
    data = registry.get("team/app/manifests/index", {"Accept": INDEX})
    (entry,) = json.loads(data)["manifests"]
    assert f"digest={entry['digest']}" in done.stdout
    assert "Summary - ### " in done.stdout
    name = f"oci://{registry.host}/team/app"
    index_digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert subjects.read_text() == f"dist/app\n{name}@{entry['digest']}\n{name}@{index_digest}\n"


@pytest.mark.docker
@pytest.mark.root
def test_with_docker(
    project: Path, actions: Path, engine: Engine, base_registry: Registry, closed: Registry
) -> None:
    """RUN, a secret, a login, outputs in the workspace; the login is not where a RUN step could read it."""
    (project / "Dockerfile").write_text(
        "FROM busybox\nCOPY file /\n"
        "RUN --mount=type=secret,id=token sha256sum </run/secrets/token >/sum; "
        f"! grep -rlF {AUTH} /kaniko /root /proc/1/environ 2>/dev/null\n"
    )
    _log_in(project, closed.host)
    given = {
        "runner": "docker",
        "executor-image": IMAGE,
        "push": "true",
        "tags": "${{ vars.HOST }}/github/run:1",
        "secrets": "token=one; two",
        "outputs": "type=oci,tar=false,dest=made/layout",
        "extra-args": "--registry-map=docker.io=${{ vars.BASES }}\n--insecure\n--insecure-pull",
    }
    _write_workflow(project, _use("build", given), SHOW, {"run": "cat made/layout/index.json"})
    subjects = project.parent / "subjects"
    subjects.touch()
    done = run_act(
        project,
        actions=actions,
        variables={"HOST": closed.host, "BASES": base_registry.host},
        environment={"DOCKER_HOST": engine.url, "GITHUB_ARTIFACTS": str(subjects)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert _top_layer(closed, "github/run") == ["sum"]
    assert "digest=sha256:" in done.stdout
    assert subjects.read_text().startswith(f"oci://{closed.host}/github/run@sha256:")
    assert "Summary - ### " in done.stdout
    assert '"manifests"' in done.stdout


@pytest.mark.docker
@pytest.mark.root
def test_in_a_job_container_of_the_executor_image(
    project: Path, engine: Engine, base_registry: Registry, tmp_path: Path
) -> None:
    """As in a runner's pod without Docker: GitHub's directories are mounted, the step's shell is sh."""
    (project / "Dockerfile").write_text("FROM busybox\nRUN echo ran >/ran\n")
    action = REPOSITORY / "github-actions/build/action.yml"
    (step,) = yaml.safe_load(action.read_text())["runs"]["steps"]
    (tmp_path / "temp").mkdir()
    (tmp_path / "temp/output").touch()
    variables = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTION_PATH": "/__w/_actions/build",
        "GITHUB_OUTPUT": "/__w/_temp/output",
        "GITHUB_STEP_SUMMARY": "/__w/_temp/summary",
        "GITHUB_WORKSPACE": "/__w/app",
        "RUNNER_TEMP": "/__w/_temp",
        "KNARR_INPUT_PUSH": "true",
        "KNARR_INPUT_TAGS": f"{base_registry.host}/github/pod:1",
        "KNARR_INPUT_EXTRA_ARGS": f"--registry-map=docker.io={base_registry.host}\n--insecure",
    }
    options = [
        "--entrypoint=sh",
        "--workdir=/__w/app",
        f"--volume={project}:/__w/app",
        f"--volume={tmp_path}/temp:/__w/_temp",
        f"--volume={REPOSITORY}/github-actions:/__w/_actions:ro",
        *(f"--env={name}={value}" for name, value in variables.items()),
    ]
    digest = engine.run(IMAGE, ["-ec", step["run"]], options=options).strip()
    assert _top_layer(base_registry, "github/pod") == ["ran"]
    assert digest in (tmp_path / "temp/output").read_text()
    assert digest[:20].partition(":")[2] in (tmp_path / "temp/summary").read_text()


@pytest.mark.docker
@pytest.mark.root
def test_certificates_and_a_proxy(
    project: Path, actions: Path, engine: Engine, base_registry: Registry, company_registry: Registry
) -> None:
    """In a container that only the proxy can tell where the registry is."""
    assert company_registry.ca_file is not None
    (project / "Dockerfile").write_text('FROM busybox\nRUN test -n "$HTTPS_PROXY"\n')
    shutil.copy(company_registry.ca_file, project / "company.pem")
    port = company_registry.host.rpartition(":")[2]
    given = {
        "runner": "docker",
        "executor-image": IMAGE,
        "push": "true",
        "tags": f"registry.test:{port}/github/company:1",
        "ca-file": "company.pem",
        "extra-args": f"--registry-map=docker.io={base_registry.host}\n"
        f"--insecure-registry={base_registry.host}",
    }
    with connect_proxy({"registry.test": "127.0.0.1"}) as proxy:
        variables = {"HTTPS_PROXY": proxy.url, "NO_PROXY": "127.0.0.1"}
        _write_workflow(project, {**_use("build", given), "env": variables})
        done = run_act(project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads(company_registry.get("github/company/manifests/1", {"Accept": MANIFEST}))
    config = company_registry.get(f"github/company/blobs/{manifest['config']['digest']}").decode()
    assert proxy.url not in config
    assert set(proxy.asked) == {f"registry.test:{port}"}


@pytest.mark.docker
@pytest.mark.root
def test_notes_at_the_run(project: Path, actions: Path, engine: Engine, base_registry: Registry) -> None:
    """A warning and the error at their lines of the Dockerfile, whose path is the repository's; a summary."""
    (project / "docker").mkdir()
    (project / "docker/app.Dockerfile").write_text("FROM busybox\nENV A b\nRUN echo said && exit 7\n")
    (project / "Dockerfile").unlink()
    given = {
        "runner": "docker",
        "executor-image": IMAGE,
        "file": "docker/app.Dockerfile",
        "extra-args": f"--registry-map=docker.io={base_registry.host}\n--insecure-pull",
    }
    _write_workflow(project, _use("build", given))
    done = run_act(project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode != 0
    (error,) = (line for line in _errors(done.stdout) if "there is no Python" not in line)
    assert "::error file=docker/app.Dockerfile,line=3," in error
    (warning,) = (line for line in done.stdout.splitlines() if "::warning file=" in line)
    assert "::warning file=docker/app.Dockerfile,line=2," in warning
    assert "LegacyKeyValueFormat" in warning
    assert "::group::" in done.stdout
    assert "Summary - ### " in done.stdout


@pytest.mark.docker
@pytest.mark.root
def test_load(project: Path, actions: Path, engine: Engine) -> None:
    given = {"runner": "docker", "executor-image": IMAGE, "load": "true", "tags": "team/loaded:1"}
    _write_workflow(project, _use("build", given), {"run": "docker image inspect team/loaded:1"})
    done = run_act(project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"team/loaded:1"' in done.stdout


@pytest.mark.docker
@pytest.mark.root
def test_places_of_the_runner_are_the_images_own_with_docker(
    project: Path, actions: Path, engine: Engine, base_registry: Registry, tmp_path: Path
) -> None:
    """Steps write where the runner has outputs, contexts, caches: all of it gets into the image alone."""
    places = [tmp_path / name for name in ("out", "context", "cache", "named")]
    for place in places[1:]:
        place.mkdir()
    shutil.move(project / "file", tmp_path / "context/file")
    (tmp_path / "named/of-the-runner").touch()
    writes = " && ".join(f"mkdir -p {place} && echo a >{place}/of-the-image" for place in places)
    (project / "Dockerfile").write_text(
        f"FROM busybox\nCOPY file /\nCOPY --from=named . /\nRUN {writes}\n"
        "RUN grep '^10.1.2.3.*one.test' /etc/hosts && df -k /dev/shm | grep ' 131072 ' && touch /found\n"
    )
    given = {
        "runner": "docker",
        "executor-image": IMAGE,
        "push": "true",
        "tags": "${{ vars.BASES }}/github/places:1",
        "context": str(places[1]),
        "file": "Dockerfile",
        "build-contexts": f"named={places[3]}",
        "cache-repo": f"oci:{places[2]}",
        "add-hosts": "one.test:10.1.2.3,two.test=10.1.2.4",
        "shm-size": "128m",
        "outputs": f"type=docker,dest={places[0]}/image.tar",
        "extra-args": "--registry-map=docker.io=${{ vars.BASES }}\n--insecure\n--insecure-pull\n"
        f"--digest-file={places[0]}/digest",
    }
    _write_workflow(project, _use("build", given))
    done = run_act(
        project,
        actions=actions,
        variables={"BASES": base_registry.host},
        environment={"DOCKER_HOST": engine.url},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = {f"{place}/of-the-image".removeprefix("/") for place in places}
    assert _top_layer(base_registry, "github/places") == ["found"]
    with tarfile.open(places[0] / "image.tar") as archive:
        layers = json.loads((archive.extractfile("manifest.json") or io.BytesIO()).read())[0]["Layers"]
        data = (archive.extractfile(layers[-2]) or io.BytesIO()).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as layer:
        assert written <= set(layer.getnames())
    assert sorted(path.name for path in places[0].iterdir()) == ["digest", "image.tar"]
    assert [path.name for path in places[1].iterdir()] == ["file"]
    assert [path.name for path in places[3].iterdir()] == ["of-the-runner"]
    assert any(len(path.name) == 64 for path in places[2].iterdir())


@pytest.mark.docker
@pytest.mark.root
def test_images_without_tags_and_their_index_with_docker(
    project: Path, actions: Path, engine: Engine, base_registry: Registry
) -> None:
    """docker's pattern for several runners, with annotations of docker/metadata-action for two levels."""
    common = {"runner": "docker", "executor-image": IMAGE, "extra-args": "--insecure"}
    annotations = 'manifest:note=one\n"manifest:lines=a\nb"\nindex:note=one\n"index:lines=a\nb"'
    name = f"{base_registry.host}/github/digests"
    build = {
        **common,
        "tags": name,
        "outputs": "type=image,push-by-digest=true,name-canonical=true,push=true,annotation.own=yes",
        "annotations": annotations,
    }
    index = {
        **common,
        "images": name + "@${{ steps.build.outputs.digest }}",
        "tags": f"{name}:1",
        "annotations": annotations,
    }
    _write_workflow(project, _use("build", build), _use("index", index))
    done = run_act(project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(base_registry.get("github/digests/tags/list"))["tags"] == ["1"]
    made = json.loads(base_registry.get("github/digests/manifests/1", {"Accept": INDEX}))
    wanted = {"note": "one", "lines": "a\nb"}
    assert made["annotations"] == wanted
    digest = made["manifests"][0]["digest"]
    image = json.loads(base_registry.get(f"github/digests/manifests/{digest}", {"Accept": MANIFEST}))
    assert image["annotations"] == {**wanted, "own": "yes"}


@pytest.mark.docker
@pytest.mark.root
def test_outputs_of_all_kinds_with_docker(
    project: Path, actions: Path, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/before").touch()
    outputs = [
        f"type=local,dest={tmp_path}/kept",
        "tree",
        f"type=tar,dest={tmp_path}/files.tar",
        "type=oci,dest=made/oci.tar",
        "type=docker,name=a:1,dest=made/a.tar",
        "type=docker,name=b:1,dest=made/b.tar",
        "type=oci,tar=false,compression=zstd,force-compression=true,dest=made/layout",
    ]
    given = {"runner": "docker", "executor-image": IMAGE, "outputs": "\n".join(outputs[:-1])}
    look = "ls tree made && cat made/*.tar | sha256sum && grep -aoh '\"RepoTags\":[^]]*]' made/?.tar"
    _write_workflow(project, _use("build", given), {"run": look})
    done = run_act(project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["before", "file"]
    with tarfile.open(tmp_path / "files.tar") as archive:
        assert archive.getnames() == ["file"]
    names = [f'"RepoTags":["docker.io/library/{name}:1"]' for name in "ab"]
    assert [done.stdout.count(name) for name in names] == [1, 1]
    given["outputs"] = outputs[-1]
    _write_workflow(
        project, _use("build", given), {"run": "grep -ao 'layer.v1.tar+zstd' made/layout/blobs/sha256/*"}
    )
    done = run_act(project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(":layer.v1.tar+zstd") == 1


@pytest.mark.docker
@pytest.mark.root
def test_an_old_local_cache_and_a_new_one_with_docker(
    project: Path, actions: Path, engine: Engine, base_registry: Registry, tmp_path: Path
) -> None:
    """The pair of directories that workflows have for actions/cache: what was used is all in the new one."""
    (project / "Dockerfile").write_text("FROM busybox AS made\nRUN cat /proc/sys/kernel/random/uuid >/made\n")
    old, new, last = (tmp_path / name for name in ("old", "new", "last"))
    given = {
        "runner": "docker",
        "executor-image": IMAGE,
        "extra-args": f"--registry-map=docker.io={base_registry.host}\n--insecure-pull",
    }
    steps = [
        {"cache-from": f"type=local,src={old}", "cache-to": f"type=local,dest={old},mode=max"},
        {"cache-from": f"type=local,src={old}", "cache-to": f"type=local,dest={new},mode=max"},
        {"cache-from": f"type=local,src={new}", "no-cache-filters": "Made"},
        {"cache-from": f"type=local,src={new}", "cache-to": f"type=local,dest={last}"},
    ]
    used = [{**_use("build", {**given, **each}), "id": f"s{number}"} for number, each in enumerate(steps)]
    digests = " ".join(f"${{{{ steps.s{number}.outputs.digest }}}}" for number in range(len(steps)))
    environment = {"DOCKER_HOST": engine.url, "SOURCE_DATE_EPOCH": "1"}
    _write_workflow(project, *used, {"run": f"echo digests: {digests}"})
    done = run_act(project, actions=actions, variables={}, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "| digests: " in line)
    first, second, third, fourth = line.partition("digests: ")[2].split()
    assert first == second == fourth != third
    keys = [{path.name for path in place.iterdir() if len(path.name) == 64} for place in (old, new, last)]
    assert keys[0]
    assert keys[0] == keys[1] == keys[2]


def test_credentials(project: Path, actions: Path, closed: Registry) -> None:
    """Of variables, and of `docker login`."""
    given = {"push": "true", "tags": "${{ vars.HOST }}/team/app:1", "extra-args": "--insecure"}
    variables = {"KANIKO_127_0_0_1_USER": "user", "KANIKO_127_0_0_1_PASSWORD": "${{ vars.PASSWORD }}"}
    _write_workflow(project, {**_use("build", given), "env": variables})
    host = {"HOST": closed.host}
    by_variables = run_act(project, actions=actions, variables={**host, "PASSWORD": PASSWORD}, environment={})
    _log_in(project, closed.host)
    by_login = run_act(project, actions=actions, variables=host, environment={})
    assert by_variables.returncode == 0, by_variables.stdout + by_variables.stderr
    assert by_login.returncode == 0, by_login.stdout + by_login.stderr


@pytest.mark.docker
@pytest.mark.root
@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_credentials_of_helpers_with_docker(
    project: Path, actions: Path, engine: Engine, closed: Registry, key: str
) -> None:
    """The programs are the runner's; the executor's container has none of them."""
    config = project.parent / "home/.docker/config.json"
    config.parent.mkdir(parents=True)
    names = {closed.host: "test"} if key == "credHelpers" else "test"
    config.write_text(json.dumps({key: names, "auths": {closed.host: {}}}))
    program = project.parent / "bin/docker-credential-test"
    program.parent.mkdir()
    answer = json.dumps({"ServerURL": closed.host, "Username": "user", "Secret": PASSWORD})
    listed = json.dumps({closed.host: "user"})
    program.write_text(f"#!/bin/sh\ncase $1 in list) echo '{listed}' ;; get) echo '{answer}' ;; esac\n")
    program.chmod(0o755)
    given = {
        "runner": "docker",
        "executor-image": IMAGE,
        "push": "true",
        "tags": f"{closed.host}/team/app:1",
        "extra-args": "--insecure",
    }
    _write_workflow(project, _use("build", given))
    environment = {"DOCKER_HOST": engine.url, "PATH": f"{program.parent}:{OWN_PATH}"}
    done = run_act(project, actions=actions, variables={}, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _top_layer(closed, "team/app") == ["file"]


def test_without_executor_and_docker_the_log_says_what_to_do(
    project: Path, actions: Path, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "python3", "bash"):
        (programs / name).symlink_to(shutil.which(name, path=OWN_PATH.partition(":")[2]) or "")
    _write_workflow(project, _use("build", {}))
    done = run_act(project, actions=actions, variables={}, environment={"PATH": str(programs)})
    assert done.returncode != 0
    said = "there is neither knarr nor Docker nor podman on this runner; hint: "
    assert any(said in line for line in _errors(done.stdout)), done.stdout


def _top_layer(registry: Registry, repository: str) -> list[str]:
    """The names in the last layer of the image with the tag 1."""
    login = {"Authorization": f"Basic {AUTH}"}
    manifest = json.loads(registry.get(f"{repository}/manifests/1", {"Accept": MANIFEST, **login}))
    blob = registry.get(f"{repository}/blobs/{manifest['layers'][-1]['digest']}", login)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as layer:
        return layer.getnames()


def _errors(log: str) -> list[str]:
    return [line for line in log.splitlines() if "::error" in line]
