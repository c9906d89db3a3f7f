"""Code blocks of the wrappers' documents: what a user copies has the form of its platform."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from support import gitlab_template
from support.doc_blocks import Block, blocks
from support.flag_values import build_flags
from support.tekton_files import TASKS, examples, resources
from support.unique_keys import load_yaml

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SCHEMAS = REPOSITORY / "tests/data/schemas"
DOCUMENTS = {
    "github": [REPOSITORY / "docs/github.md", *sorted(REPOSITORY.glob("github-actions/*/README.md"))],
    "gitlab": [REPOSITORY / "docs/gitlab.md", REPOSITORY / "ci/gitlab/README.md"],
    "tekton": [REPOSITORY / "docs/tekton.md", *sorted(TASKS.glob("**/README.md"))],
    "kubernetes": [REPOSITORY / "docs/kubernetes.md"],
}
NO_YAML = re.compile(r'(kubectl|docker|ssh-keyscan) |RUN |\{"auths"')
"""How blocks begin that are something else: commands, a Dockerfile's line, a config.json."""
ACTION = re.compile(r"OWNER/knarr/github-actions/([a-z]+)@v1")


def _yaml(platform: str) -> list[Block]:
    found = [block for path in DOCUMENTS[platform] for block in blocks(path)]
    return [block for block in found if not NO_YAML.match(block.text)]


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", _yaml("github"), ids=str)
def test_github(block: Block, tmp_path: Path) -> None:
    workflow = _workflow(load_yaml(block.text))
    path = tmp_path / ".github/workflows/docs.yml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(workflow, sort_keys=False))
    _run(BIN / "check-jsonschema", "--builtin-schema=vendor.github-workflows", path)
    labels = tmp_path / "jactionlint.yaml"
    labels.write_text("self-hosted-runner: {labels: [my-runner-set]}\n")
    _run(BIN / "jactionlint", f"--config-file={labels}", "--profile=correctness", path)
    used = [
        step
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if ACTION.match(step.get("uses", ""))
    ]
    assert used
    for step in used:
        _check_step(step, block.text)


def _workflow(written: Any) -> dict[str, Any]:
    """The workflow that the block is a part of: it is one, or a job, or the steps of one."""
    if isinstance(written, list):
        written = {"steps": written}
    if "jobs" not in written:
        written = {"jobs": {"image": {"runs-on": "ubuntu-latest", **written}}}
    return {"name": "docs", "on": "push", **written}


def _check_step(step: Mapping[str, Any], text: str) -> None:
    """The step gives inputs that the action has, all that it needs, and asks for outputs that it has."""
    match = ACTION.fullmatch(step["uses"])
    assert match is not None
    action = yaml.safe_load((REPOSITORY / f"github-actions/{match[1]}/action.yml").read_text())
    inputs = action["inputs"]
    assert set(step["with"]) <= set(inputs)
    assert {name for name, each in inputs.items() if each.get("required")} <= set(step["with"])
    if "id" in step:
        asked = re.findall(rf"steps\.{step['id']}\.outputs\.([a-z]+)", text)
        assert set(asked) <= set(action["outputs"])


@pytest.mark.parametrize("block", _yaml("gitlab"), ids=str)
def test_gitlab(block: Block) -> None:
    written = load_yaml(block.text)
    if set(written) == {"inputs"}:
        written = {"include": [{"local": "ci/knarr.yml", **written}]}
    gitlab_template.check_schema(written)
    for include in written.get("include", []):
        inputs = include.get("inputs", {})
        gitlab_template.check_inputs(inputs)
        gitlab_template.check_schema(gitlab_template.jobs(inputs))


@pytest.mark.parametrize("block", _yaml("tekton"), ids=str)
def test_tekton(block: Block) -> None:
    written = load_yaml(block.text)
    if "kind" in written:
        schema = json.loads((SCHEMAS / f"tekton-{written['kind'].lower()}-v1.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(written)
        for name, given in _calls(written["spec"]):
            (path,) = (each for each in resources() if each.stem == name and "stepactions" not in each.parts)
            assert _takes(path, given, whole=True)
    elif "taskRef" in written:
        params = {each["name"]: each["value"] for each in written["taskRef"]["params"]}
        assert (REPOSITORY / params["pathInRepo"]).is_file()
    else:
        assert set(written) <= {"params", "workspaces"}
        assert any(_takes(path, written, whole=False) for path in resources()), "nothing takes all of these"


def _calls(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The Task or Pipeline of a run, the Tasks of a Pipeline, each with what it is given."""
    if "tasks" not in spec:
        yield spec.get("pipelineRef", spec.get("taskRef"))["name"], spec
        return
    outer = {each["name"] for each in spec["workspaces"]}
    for task in spec["tasks"]:
        assert {each["workspace"] for each in task["workspaces"]} <= outer
        for leg in task.get("matrix", {}).get("include", [{}]):
            yield (
                task["taskRef"]["name"],
                {**task, "params": [*task.get("params", []), *leg.get("params", [])]},
            )


def _takes(path: Path, given: Mapping[str, Any], *, whole: bool) -> bool:
    """Whether the Task or Pipeline has these parameters and workspaces; `whole` if nothing else is given."""
    spec = yaml.safe_load(path.read_text())["spec"]
    params = {each["name"]: each for each in spec["params"]}
    workspaces = {each["name"]: each for each in spec.get("workspaces", [])}
    values = {each["name"]: each["value"] for each in given.get("params", [])}
    bound = {each["name"] for each in given.get("workspaces", [])}
    known = set(values) <= set(params) and bound <= set(workspaces)
    typed = known and all(
        isinstance(value, list) == (params[name].get("type") == "array") for name, value in values.items()
    )
    needed = {name for name, each in params.items() if "default" not in each} - set(values)
    unbound = {name for name, each in workspaces.items() if not each.get("optional")} - bound
    return typed and not (whole and (needed or unbound))


@pytest.mark.parametrize("block", _yaml("kubernetes"), ids=str)
def test_kubernetes(block: Block) -> None:
    (container,) = load_yaml(block.text)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [container]}}
    kubernetes_validate.validate(pod, "1.33", strict=True)
    assert build_flags(container["args"])


@pytest.mark.parametrize("platform", DOCUMENTS)
def test_there_are_blocks(platform: str) -> None:
    assert _yaml(platform)


def _runs(path: Path) -> list[Mapping[str, Any]]:
    if path.suffix == ".md":
        texts = [block.text for block in blocks(path) if not NO_YAML.match(block.text)]
    else:
        texts = [path.read_text()]
    found = [each for text in texts for each in yaml.safe_load_all(text) if isinstance(each, dict)]
    return [each for each in found if each.get("kind") == "TaskRun"]


@pytest.mark.parametrize("path", [*DOCUMENTS["tekton"], *examples()], ids=str)
def test_a_task_run_has_one_claim(path: Path) -> None:
    """Under Tekton's default flags its controller refuses more (pkg/workspace, ValidateOnlyOnePVCIsUsed)."""
    for run in _runs(path):
        bound = run["spec"].get("workspaces", [])
        claims = {
            each["persistentVolumeClaim"]["claimName"] for each in bound if "persistentVolumeClaim" in each
        }
        assert len(claims) + sum("volumeClaimTemplate" in each for each in bound) < 2
