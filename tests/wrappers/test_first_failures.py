"""The failures that a user meets first, in the job's log of each wrapper: what it is, and what to change."""

import copy
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts.bump_image import image_name

from support import gitlab_template
from support.ci_tools import commit, run_act, run_gitlab
from support.docker_engine import Engine, RefusedError
from support.registry import Registry
from support.taskrun import TaskRunner, load_task
from support.tekton_files import TASKS

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root, pytest.mark.runner]

REPOSITORY = Path(__file__).parents[2]
IMAGE = "knarr/executor:debug"
OFF = "127.0.0.1:1"
"""A registry where nothing listens."""


@dataclass(frozen=True)
class Build:
    """What a user asks a wrapper for."""

    project: Path
    name: str
    flags: tuple[str, ...]
    unprivileged: bool = False


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants credentials."""
    registry = Registry.start(tmp_path_factory.mktemp("closed"), auth=("user", "password"))
    yield registry
    registry.stop()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "Dockerfile").write_text("FROM busybox\nRUN true\n")
    return directory


def _gitlab(engine: Engine, build: Build, variables: Mapping[str, str] | None = None) -> str:
    shutil.copy(gitlab_template.TEMPLATE, build.project / "knarr.yml")
    inputs = {"executor-image": IMAGE, "tags": build.name, "registry-args": "\n".join(build.flags)}
    pipeline: dict[str, Any] = {"include": [{"local": "knarr.yml", "inputs": inputs}]}
    if build.unprivileged:
        image = {"name": IMAGE, "entrypoint": [""], "docker": {"user": "1000"}}
        pipeline["knarr-build"] = {"image": image}
    (build.project / ".gitlab-ci.yml").write_text(yaml.safe_dump(pipeline))
    commit(build.project)
    done = run_gitlab(build.project, docker_host=engine.url, variables=variables)
    assert done.returncode != 0
    return done.stderr


def _github(engine: Engine, build: Build) -> str:
    actions = build.project.parent / "actions"
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "github-actions", actions / "github-actions", ignore=leave)
    commit(actions)
    given = {
        "runner": "docker",
        "executor-image": IMAGE,
        "push": "true",
        "tags": build.name,
        "extra-args": "\n".join(build.flags),
        "docker-options": "--cap-drop=ALL" if build.unprivileged else "",
    }
    steps = [
        {"uses": "actions/checkout@v4"},
        {"uses": "OWNER/knarr/github-actions/build@v1", "with": given},
    ]
    workflow = build.project / ".github/workflows/image.yml"
    workflow.parent.mkdir(parents=True)
    job = {"runs-on": "ubuntu-latest", "steps": steps}
    workflow.write_text(yaml.safe_dump({"on": "push", "jobs": {"image": job}}))
    commit(build.project)
    done = run_act(build.project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode != 0
    return done.stdout


def _tekton(engine: Engine, build: Build) -> str:
    task = copy.deepcopy(load_task(TASKS / "knarr-build/0.1/knarr-build.yaml"))
    if build.unprivileged:
        (step,) = task["steps"]
        step["securityContext"] |= {"runAsUser": 1000, "runAsNonRoot": True}
    runner = TaskRunner(engine, build.project.parent / "run", {image_name(): IMAGE})
    with pytest.raises(RefusedError):
        runner.run(task, {"IMAGE": build.name, "EXTRA_ARGS": list(build.flags)}, {"source": build.project})
    return "".join(runner.logs)


WRAPPERS: Mapping[str, Callable[[Engine, Build], str]] = {
    "gitlab": _gitlab,
    "github": _github,
    "tekton": _tekton,
}
each_wrapper = pytest.mark.parametrize("wrapper", WRAPPERS)


def _flags(bases: Registry) -> tuple[str, ...]:
    return (f"--registry-map=docker.io={bases.host}", "--insecure", "--insecure-pull")


def _check(wrapper: str, log: str, error: str, hint: str) -> None:
    """The log has one error, and with it what to change; on GitHub that is one note at the run too."""
    lines = [re.sub(r"^.*? (>|\|) +(?=error: |hint: )", "", line) for line in log.splitlines()]
    (place,) = (number for number, line in enumerate(lines) if line.startswith("error: "))
    assert re.search(error, lines[place]), log
    assert lines[place + 1].startswith("hint: "), log
    assert re.search(hint, lines[place + 1]), log
    if wrapper == "github":
        (note,) = (line for line in lines if "title=knarr build failed::" in line)
        assert re.search(f"{error}.*%0Ahint: .*{hint}", note), log


@each_wrapper
def test_no_credentials(
    wrapper: str, engine: Engine, project: Path, base_registry: Registry, closed: Registry
) -> None:
    name = f"{closed.host}/first/app"
    log = WRAPPERS[wrapper](engine, Build(project, f"{name}:1", _flags(base_registry)))
    _check(
        wrapper, log, f"can't push to {name}: .* 401", rf"no credentials for {name} \(looked in: .*; log in"
    )


@each_wrapper
def test_no_dockerfile(wrapper: str, engine: Engine, project: Path, base_registry: Registry) -> None:
    (project / "Dockerfile").unlink()
    build = Build(project, f"{base_registry.host}/first/app:1", _flags(base_registry))
    log = WRAPPERS[wrapper](engine, build)
    _check(wrapper, log, "no Dockerfile: .*/Dockerfile is not a file", "input file, .* DOCKERFILE")


@each_wrapper
def test_registry_that_is_off(wrapper: str, engine: Engine, project: Path, base_registry: Registry) -> None:
    log = WRAPPERS[wrapper](engine, Build(project, f"{OFF}/first/app:1", _flags(base_registry)))
    _check(
        wrapper, log, f"can't push to {OFF}/first/app: .*refuses the connection", "is the registry running"
    )


@each_wrapper
def test_run_that_is_impossible(wrapper: str, engine: Engine, project: Path, base_registry: Registry) -> None:
    name = f"{base_registry.host}/first/app:1"
    log = WRAPPERS[wrapper](engine, Build(project, name, _flags(base_registry), unprivileged=True))
    hint = "unless they are dropped" if wrapper == "github" else "run the container as root"
    _check(wrapper, log, "Dockerfile:2: RUN true: .*cannot build in place", hint)
    if wrapper == "github":
        assert "::error file=Dockerfile,line=2,title=knarr build failed::" in log


def test_registry_of_a_gitlab_project_that_is_off(
    engine: Engine, project: Path, base_registry: Registry
) -> None:
    """GitLab leaves its variables unset then."""
    build = Build(project, "$CI_REGISTRY_IMAGE:$CI_COMMIT_REF_SLUG", _flags(base_registry))
    log = _gitlab(engine, build, {"CI_REGISTRY_IMAGE": ""})
    (line,) = re.findall("error: .*", log)
    assert line.startswith(
        "error: the image's name has no registry: $CI_REGISTRY_IMAGE:$CI_COMMIT_REF_SLUG; "
        "hint: switch on the container registry"
    )
