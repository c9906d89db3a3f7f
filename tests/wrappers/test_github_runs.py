"""Workflows that use the actions by OWNER/knarr/github-actions/NAME@v1, run by act."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.ci_tools import OWN_PATH, run_act
from support.connect_proxy import connect_proxy
from support.docker_engine import Engine
from support.github_workflow import AUTH, IMAGE, INDEX, MANIFEST, PASSWORD, top_layer, use, write_workflow
from support.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.runner]

REPOSITORY = Path(__file__).parents[2]
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


def _log_in(project: Path, host: str) -> None:
    config = project.parent / "home/.docker/config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"auths": {host: {"auth": AUTH}}}))


def test_where_the_executor_is_there(project: Path, actions: Path, registry: Registry) -> None:
    tags = "${{ vars.HOST }}/Team/App:1,${{ vars.HOST }}/Team/App:2"
    flags = "--insecure-registry=${{ vars.HOST }}"
    write_workflow(
        project,
        use("build", {"push": "true", "tags": tags, "labels": "text=a; `id`", "extra-args": flags}),
        use(
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
    write_workflow(project, use("build", given), SHOW, {"run": "cat made/layout/index.json"})
    subjects = project.parent / "subjects"
    subjects.touch()
    done = run_act(
        project,
        actions=actions,
        variables={"HOST": closed.host, "BASES": base_registry.host},
        environment={"DOCKER_HOST": engine.url, "GITHUB_ARTIFACTS": str(subjects)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert top_layer(closed, "github/run") == ["sum"]
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
    assert top_layer(base_registry, "github/pod") == ["ran"]
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
        write_workflow(project, {**use("build", given), "env": variables})
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
    write_workflow(project, use("build", given))
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
    write_workflow(project, use("build", given), {"run": "docker image inspect team/loaded:1"})
    done = run_act(project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"team/loaded:1"' in done.stdout


def test_credentials(project: Path, actions: Path, closed: Registry) -> None:
    """Of variables, and of `docker login`."""
    given = {"push": "true", "tags": "${{ vars.HOST }}/team/app:1", "extra-args": "--insecure"}
    variables = {"KANIKO_127_0_0_1_USER": "user", "KANIKO_127_0_0_1_PASSWORD": "${{ vars.PASSWORD }}"}
    write_workflow(project, {**use("build", given), "env": variables})
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
    write_workflow(project, use("build", given))
    environment = {"DOCKER_HOST": engine.url, "PATH": f"{program.parent}:{OWN_PATH}"}
    done = run_act(project, actions=actions, variables={}, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert top_layer(closed, "team/app") == ["file"]


def test_without_executor_and_docker_the_log_says_what_to_do(
    project: Path, actions: Path, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "python3", "bash"):
        (programs / name).symlink_to(shutil.which(name, path=OWN_PATH.partition(":")[2]) or "")
    write_workflow(project, use("build", {}))
    done = run_act(project, actions=actions, variables={}, environment={"PATH": str(programs)})
    assert done.returncode != 0
    said = "there is neither knarr nor Docker nor podman on this runner; hint: "
    assert any(said in line for line in _errors(done.stdout)), done.stdout


def _errors(log: str) -> list[str]:
    return [line for line in log.splitlines() if "::error" in line]
