"""The Tekton resources by other people's tools: schemas, yamllint, shellcheck, tekton-lint, Kubernetes."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from scripts.tekton import made_files

from support.ci_tools import tekton_lint
from support.tekton_files import TASKS, documents, examples, resources

SCHEMAS = Path(__file__).parents[1] / "data/schemas"
VERSIONS = {"StepAction": "v1beta1"}
LINE_LENGTH = {"max": 130, "allow-non-breakable-inline-mappings": True}
"""The name of an image with its digest can't be broken."""
YAMLLINT = {
    "extends": "default",
    "rules": {"line-length": LINE_LENGTH, "document-start": "disable", "comments-indentation": "disable"},
}
CATEGORIES = {"Image Build", "Git", "Storage", "Security", "Build Tools"}


@pytest.mark.parametrize("path", [*resources(), *examples()], ids=lambda path: path.name)
def test_schemas_are_met(path: Path) -> None:
    for document in documents(path):
        kind = document["kind"]
        if kind in ("ConfigMap", "Secret"):
            kubernetes_validate.validate(document, "1.33", strict=True)
            continue
        name = f"tekton-{kind.lower()}-{VERSIONS.get(kind, 'v1')}.json"
        schema = json.loads((SCHEMAS / name).read_text())
        jsonschema.Draft202012Validator(schema).validate(document)


def test_yamllint() -> None:
    command = [sys.executable, "-m", "yamllint", "--strict", "-d", json.dumps(YAMLLINT)]
    done = subprocess.run([*command, str(TASKS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", resources("knarr-*"), ids=lambda path: path.name)
def test_scripts(path: Path, tmp_path: Path) -> None:
    """By shellcheck, as scripts of the plain POSIX shell."""
    for step in yaml.safe_load(path.read_text())["spec"]["steps"]:
        if "script" not in step:
            assert step["command"], "without it the controller asks the registry for the image's entry point"
            continue
        script = tmp_path / step["name"]
        script.write_text(step["script"])
        command = [str(Path(sys.executable).with_name("shellcheck")), "--shell=sh", str(script)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", resources("knarr-*"), ids=lambda path: path.name)
def test_steps_are_containers(path: Path) -> None:
    spec = yaml.safe_load(path.read_text())["spec"]
    fields = ("name", "image", "command", "args", "env", "securityContext", "workingDir")
    containers = [
        {key: each[key] for key in fields if key in each}
        for step in spec["steps"]
        for each in [{**spec.get("stepTemplate", {}), **step}]
    ]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "steps"},
        "spec": {"containers": containers},
    }
    kubernetes_validate.validate(pod, "1.33", strict=True)


@pytest.mark.parametrize("path", resources(), ids=lambda path: path.name)
def test_conventions_of_the_catalog(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    metadata = document["metadata"]
    annotations: Mapping[str, Any] = metadata["annotations"]
    assert metadata["name"] == path.stem == path.parents[1].name
    assert metadata["labels"]["app.kubernetes.io/version"] == path.parent.name
    assert annotations["tekton.dev/pipelines.minVersion"].count(".") == 2
    assert set(annotations["tekton.dev/categories"].split(", ")) <= CATEGORIES
    for name in ("displayName", "tags", "platforms"):
        assert annotations[f"tekton.dev/{name}"]
    summary, blank, *body = document["spec"]["description"].splitlines()
    assert summary.endswith(".")
    assert blank == ""
    assert body


@pytest.mark.parametrize("path", resources("knarr-*"), ids=lambda path: path.name)
def test_a_task_comes_with_its_documents(path: Path) -> None:
    readme = (path.parent / "README.md").read_text()
    for title in ("## Install", "## Parameters", "## Workspaces", "## Platforms", "## Usage"):
        assert title in readme
    assert list((path.parent / "samples").glob("*.yaml"))
    assert (path.parent / "tests/run.yaml").exists()


def test_what_is_made_of_the_tasks_is_up_to_date() -> None:
    """`make tables` writes it."""
    stale = [str(path) for path, text in made_files() if not path.exists() or path.read_text() != text]
    assert stale == []


@pytest.mark.runner
def test_tekton_lint(tmp_path: Path) -> None:
    problems = tekton_lint([*resources(), *examples()], tmp_path)
    assert [each for each in problems if not _is_known(each)] == []


def _is_known(problem: Mapping[str, Any]) -> bool:
    """What the linter does not know: a matrix gives parameters and makes arrays of results.

    Names are in upper case because the kaniko Task has them so.
    """
    is_matrix = problem["path"].endswith("knarr-multi-arch.yaml") and (
        "'ARCHITECTURE' is not supplied" in problem["message"]
        or "'IMAGE_REF[*]' is not a result" in problem["message"]
    )
    return is_matrix or problem["rule"] == "prefer-kebab-case"
