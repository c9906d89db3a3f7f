"""Examples of the wrappers' documents, run as they are written."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts.bump_image import image_name

from support import gitlab_template
from support.bases import base, cache_directory, push
from support.ci_tools import commit, run_act, run_gitlab
from support.doc_blocks import blocks
from support.docker_engine import Engine
from support.registry import Registry
from support.unique_keys import load_yaml

pytestmark = [pytest.mark.registry, pytest.mark.runner]

REPOSITORY = Path(__file__).parents[2]
GITLAB, GITHUB = REPOSITORY / "docs/gitlab.md", REPOSITORY / "docs/github.md"
IMAGE = "knarr/executor:debug"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def _example(document: Path, word: str) -> Any:
    """The one block that has this word."""
    (block,) = (each for each in blocks(document) if word in each.text)
    return load_yaml(block.text)


def _run_gitlab(project: Path, pipeline: dict[str, Any], tags: str, variables: Mapping[str, str]) -> None:
    """The example with the template at hand, and another name to push to."""
    (include,) = pipeline["include"]
    inputs = {**include["inputs"], "tags": tags, "registry-args": "--insecure"}
    shutil.copy(gitlab_template.TEMPLATE, project / "knarr.yml")
    written = {**pipeline, "include": [{"local": "knarr.yml", "inputs": inputs}]}
    (project / ".gitlab-ci.yml").write_text(yaml.safe_dump(written))
    commit(project)
    done = run_gitlab(project, variables=variables)
    assert done.returncode == 0, done.stdout + done.stderr


def _layers(registry: Registry, name: str, tag: str = "1") -> list[Any]:
    manifest = json.loads(registry.get(f"{name}/manifests/{tag}", {"Accept": MANIFEST}))
    found: list[Any] = manifest["layers"]
    return found


def test_gitlab_context_of_another_project(base_registry: Registry, tmp_path: Path) -> None:
    other = tmp_path / "instance/team/other.git"
    other.mkdir(parents=True)
    (other / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    (other / "file").write_text("of the other project")
    commit(other)
    project = tmp_path / "project"
    project.mkdir()
    url = "https://gitlab-ci-token:t0ken@gitlab.example.com/"
    (project / ".gitconfig").write_text(f'[url "file://{tmp_path}/instance/"]\n\tinsteadOf = {url}\n')
    variables = {"CI_JOB_TOKEN": "t0ken", "CI_SERVER_HOST": "gitlab.example.com"}
    pipeline = _example(GITLAB, "git clone")
    _run_gitlab(project, pipeline, f"{base_registry.host}/docs/other:1", variables)
    assert len(_layers(base_registry, "docs/other")) == 1


@pytest.fixture
def actions(tmp_path: Path) -> Path:
    directory = tmp_path / "actions"
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "github-actions", directory / "github-actions", ignore=leave)
    commit(directory)
    return directory


def _run_github(
    project: Path, actions: Path, steps: list[Any], given: Mapping[str, str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    *before, build = steps
    steps = [{"uses": "actions/checkout@v4"}, *before, {**build, "with": {**build["with"], **given}}]
    workflow = project / ".github/workflows/image.yml"
    workflow.parent.mkdir(parents=True)
    job = {"runs-on": "ubuntu-latest", "steps": steps}
    workflow.write_text(yaml.safe_dump({"on": "push", "jobs": {"image": job}}))
    commit(project)
    done = run_act(project, actions=actions, variables={}, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.docker
@pytest.mark.root
def test_github_warmed_bases(engine: Engine, actions: Path, tmp_path: Path) -> None:
    """The build has the layers of its base when the registry has them no more."""
    registry = Registry.start(tmp_path)
    try:
        push([base("busybox", cache_directory())], registry.host)
        project = tmp_path / "project"
        project.mkdir()
        dockerfile = f"FROM {registry.host}/library/busybox\nRUN cat /etc/passwd >/copy\n"
        (project / "Dockerfile").write_text(dockerfile)
        keep, warm, build = _example(GITHUB, "actions/cache")
        assert keep["with"]["path"] == "bases"
        warm = {"run": warm["run"].replace(image_name(), IMAGE)}
        (layer,) = (each["digest"] for each in _layers(registry, "library/busybox", "latest"))
        lose = {"run": f"rm {registry.blob_path(layer)}"}
        name = f"{registry.host}/docs/warmed"
        given = {
            "runner": "docker",
            "executor-image": IMAGE,
            "tags": f"{name}:1",
            "cache-repo": f"{name}/cache",
        }
        _run_github(project, actions, [warm, lose, build], given, {"DOCKER_HOST": engine.url})
        assert _layers(registry, "docs/warmed")[0]["digest"] == layer
    finally:
        registry.stop()
