"""What the Tekton resources refer to: parameters, arrays, workspaces, results, flags of the executor."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from knarr.cli.main import run
from support.tekton_files import TASKS, documents, examples, resources
from support.tekton_variables import VARIABLE

TASK_FILES = resources("knarr-*")
ACTION_FILES = resources("stepactions/knarr-*")
PIPELINE_FILES = resources("pipelines/knarr-*")
SPLICED = ("args", "command", "value")

Spec = Mapping[str, Any]


def _spec(path: Path) -> Spec:
    spec: Spec = yaml.safe_load(path.read_text())["spec"]
    return spec


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str, bool]]:
    """Each text with the key that it stands under, and whether it is an item of a list."""
    if isinstance(value, str):
        yield key, value, False
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, str):
                yield key, item, True
            else:
                yield from _texts(item, key)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(each, name)


def _kinds(params: list[Mapping[str, Any]]) -> dict[str, str]:
    for param in params:
        is_array = isinstance(param.get("default"), list)
        assert param.get("type", "string") == "array" or not is_array, f"{param['name']} needs its type"
    return {param["name"]: param.get("type", "string") for param in params}


def _check(spec: Spec, known: Mapping[str, str], body: Any) -> set[str]:
    """Check every variable in `body`; gives the names that are used. `known` is kinds by name."""
    used = set()
    for key, text, is_item in _texts(body):
        if key == "script":
            continue
        for match in VARIABLE.finditer(text):
            name, star = match[1], match[2]
            assert name in known, f"{match[0]} is not defined"
            used.add(name)
            if known[name] == "array":
                is_whole = match[0] == text and is_item and key in SPLICED
                assert star, f"{match[0]} is an array"
                assert is_whole, f"{text}: an array is spliced whole, in a list"
            else:
                assert not star, f"{match[0]} is a text"
    return used


def _known(spec: Spec) -> dict[str, str]:
    known = {f"params.{name}": kind for name, kind in _kinds(spec.get("params", [])).items()}
    for each in spec.get("workspaces", []):
        known |= {f"workspaces.{each['name']}.{what}": "string" for what in ("path", "bound")}
    return known


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.stem)
def test_tasks(path: Path) -> None:
    spec = _spec(path)
    results = {f"results.{each['name']}.path": "string" for each in spec.get("results", [])}
    body = [spec["steps"], spec.get("stepTemplate", {})]
    used = _check(spec, {**_known(spec), **results}, body)
    assert {f"params.{each['name']}" for each in spec["params"]} <= used, "parameters that do nothing"
    assert set(results) <= used, "results that nothing writes"
    paths = {f"workspaces.{each['name']}.path" for each in spec["workspaces"]}
    fixed = {f"workspaces.{each['name']}.path" for each in spec["workspaces"] if "mountPath" in each}
    assert paths - fixed <= used, "workspaces that nothing reads"


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.stem)
def test_optional_workspaces_are_the_whole_of_a_value(path: Path) -> None:
    """Without them their path is empty: what is behind it would be a path from the root."""
    spec = _spec(path)
    optional = {each["name"] for each in spec["workspaces"] if each.get("optional")}
    for key, text, _ in _texts([spec["steps"], spec.get("stepTemplate", {})]):
        for name in optional:
            variable = f"$(workspaces.{name}.path)"
            if variable in text:
                assert text == variable or re.fullmatch(r"--[a-z-]+=" + re.escape(variable), text), (
                    key,
                    text,
                )


@pytest.mark.parametrize("path", [*TASK_FILES, *ACTION_FILES], ids=lambda path: path.parent.parent.name)
def test_no_script_holds_a_variable(path: Path) -> None:
    spec = _spec(path)
    for step in spec.get("steps", [spec]):
        found = {match[1].partition(".")[0] for match in VARIABLE.finditer(step.get("script", ""))}
        assert not found & {"params", "workspaces", "results", "context"}, "a value could be a command"


@pytest.mark.parametrize("path", ACTION_FILES, ids=lambda path: path.stem)
def test_step_actions(path: Path) -> None:
    spec = _spec(path)
    results = {f"step.results.{each['name']}.path": "string" for each in spec.get("results", [])}
    body = {key: value for key, value in spec.items() if key not in ("params", "results", "description")}
    used = _check(spec, {**_known(spec), **results}, body)
    assert {f"params.{each['name']}" for each in spec["params"]} | set(results) == used


@pytest.mark.parametrize("path", PIPELINE_FILES, ids=lambda path: path.stem)
def test_pipelines(path: Path) -> None:
    spec = _spec(path)
    tasks = {task["name"]: _task_spec(task) for task in spec["tasks"]}
    known = {key: kind for key, kind in _known(spec).items() if key.startswith("params.")}
    for task in spec["tasks"]:
        kind = "array" if "matrix" in task else "string"
        for each in tasks[task["name"]].get("results", []):
            known[f"tasks.{task['name']}.results.{each['name']}"] = kind
    outer = [{key: value for key, value in task.items() if key != "taskSpec"} for task in spec["tasks"]]
    used = _check(spec, known, [outer, spec.get("results", [])])
    assert {f"params.{each['name']}" for each in spec["params"]} <= used
    for task in spec["tasks"]:
        _check_call(task, tasks[task["name"]], spec)
        if "taskSpec" in task:
            _check_inline(tasks[task["name"]])


def _task_spec(task: Mapping[str, Any]) -> Spec:
    if "taskSpec" in task:
        spec: Spec = task["taskSpec"]
        return spec
    name = task["taskRef"]["name"]
    return _spec(TASKS / f"{name}/0.1/{name}.yaml")


def _check_call(task: Mapping[str, Any], spec: Spec, pipeline: Spec) -> None:
    """The Task that is called takes what it is given, and is given what it needs."""
    given = {each["name"]: each["value"] for each in task.get("params", [])}
    from_matrix = {each["name"] for each in task.get("matrix", {}).get("params", [])}
    _check_given(given, spec.get("params", []), from_matrix)
    workspaces = {each["name"]: each for each in spec.get("workspaces", [])}
    outer = {each["name"]: each for each in pipeline.get("workspaces", [])}
    bound = {each["name"]: each["workspace"] for each in task.get("workspaces", [])}
    assert set(bound) <= set(workspaces)
    assert {name for name, each in workspaces.items() if not each.get("optional")} <= set(bound)
    for name, source in bound.items():
        assert not outer[source].get("optional") or workspaces[name].get("optional")


def _check_given(
    given: Mapping[str, Any], params: list[Mapping[str, Any]], others: set[str] | None = None
) -> None:
    kinds = _kinds(params)
    others = others or set()
    assert {*given, *others} <= set(kinds)
    assert {each["name"] for each in params if "default" not in each} <= {*given, *others}
    for name, value in given.items():
        assert isinstance(value, list) == (kinds[name] == "array"), name


def _check_inline(spec: Spec) -> None:
    """The steps of a Task within a pipeline, those that are StepActions too."""
    actions = {
        step["name"]: _spec(TASKS / f"stepactions/{name}/0.1/{name}.yaml")
        for step in spec["steps"]
        if "ref" in step
        for name in [step["ref"]["name"]]
    }
    known = _known(spec)
    for name, action in actions.items():
        for each in action.get("results", []):
            known[f"steps.{name}.results.{each['name']}"] = "string"
    _check(spec, known, [spec["steps"], spec.get("results", [])])
    for step in spec["steps"]:
        if "ref" in step:
            given = {each["name"]: each["value"] for each in step.get("params", [])}
            _check_given(given, actions[step["name"]]["params"])


@pytest.mark.parametrize("path", examples(), ids=lambda path: f"{path.parts[-4]}-{path.name}")
def test_examples(path: Path) -> None:
    for document in documents(path):
        if document["kind"] in ("TaskRun", "PipelineRun"):
            run_spec = document["spec"]
            spec = _spec(path.parents[1] / f"{path.parents[2].name}.yaml")
            _check_given({each["name"]: each["value"] for each in run_spec["params"]}, spec["params"])
            declared = {each["name"]: each for each in spec["workspaces"]}
            bound = {each["name"] for each in run_spec.get("workspaces", [])}
            assert bound <= set(declared)
            assert {name for name, each in declared.items() if not each.get("optional")} <= bound


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.stem)
def test_flags_exist(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A flag or list of the executor that a Task names is in its help, or the list of one that is."""
    for step in _spec(path)["steps"]:
        command, *arguments = step.get("args", [""])
        if step.get("command") != ["/knarr/bin/knarr"]:
            continue
        assert run([command, "--help"]) == 0
        known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) | {"--end"}
        for argument in arguments:
            flag = argument.partition("=")[0]
            if flag.startswith("--") and flag != "--":
                singular = {flag, flag.removesuffix("s"), f"{flag.removesuffix('ies')}y"}
                assert singular & known, flag
