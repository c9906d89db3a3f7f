"""Runs a Tekton Pipeline without a cluster, one pod after the other (pipelines.md, pipelineruns.md).

What of the specification it does not know is an error, never ignored.
"""

import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from support.docker_engine import RefusedError
from support.taskrun import Document, TaskRunner, checked, given_params, load_task, typed
from support.tekton_files import TASKS
from support.tekton_variables import Value, VariableError, replaced, replaced_whole

SUCCEEDED, COMPLETED, FAILED, SKIPPED = "Succeeded", "Completed", "Failed", "None"
"""Tekton's words, those of `$(tasks.NAME.status)`; a run is Completed where a task was skipped."""

_RUN_FIELDS = frozenset(
    "params pipelineRef pipelineSpec taskRunSpecs taskRunTemplate workspaces".split()  # of a PipelineRun
)
_PIPELINE_FIELDS = frozenset("description finally params results tasks workspaces".split())
_CALL_FIELDS = frozenset(
    "description displayName matrix name params runAfter taskRef taskSpec when workspaces".split()
)
_RESULT_USE = re.compile(r"\$\(tasks\.([a-z0-9-]+)\.results\.([A-Za-z0-9_-]+)")
_ARCHITECTURE = "kubernetes.io/arch"


@dataclass(frozen=True)
class TaskOutcome:
    """How a task of the Pipeline ended; a matrix has many runs."""

    status: str
    results: Mapping[str, Value] = field(default_factory=dict)
    nodes: Sequence[str] = ()
    """The architecture that the nodeSelector of each run asked for; empty where any node was fine."""
    log: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a PipelineRun ended."""

    status: str
    results: Mapping[str, Value]
    tasks: Mapping[str, TaskOutcome]

    @property
    def log(self) -> str:
        """What all steps have printed."""
        return "".join(each.log for each in self.tasks.values())


@dataclass(frozen=True)
class PipelineRunner:
    """Where Pipelines run: `nodes` by architecture, the first for pods that ask for none."""

    nodes: Mapping[str, TaskRunner]
    directory: Path
    volumes: Mapping[str, Path] = field(default_factory=dict)
    """Secrets, ConfigMaps and claims by name, as directories."""

    def run(self, run: Document) -> Outcome:
        """Run a PipelineRun; that a task fails is an outcome.

        Raises AssertionError for what a cluster would not accept, or what is not known here.
        """
        assert run["kind"] == "PipelineRun"
        spec = checked(run["spec"], _RUN_FIELDS, "the PipelineRun")
        return _Run(self, spec, _pipeline(spec)).to_end()


def _pipeline(run_spec: Document) -> Document:
    if "pipelineSpec" in run_spec:
        spec: Document = run_spec["pipelineSpec"]
    else:
        name = checked(run_spec["pipelineRef"], {"name"}, "the reference")["name"]
        (path,) = TASKS.glob(f"pipelines/{name}/*/{name}.yaml")
        document = yaml.safe_load(path.read_text())
        assert (document["kind"], document["metadata"]["name"]) == ("Pipeline", name)
        spec = document["spec"]
    return checked(spec, _PIPELINE_FIELDS, "the Pipeline")


class _Run:
    def __init__(self, runner: PipelineRunner, run_spec: Document, pipeline: Document) -> None:
        self.runner = runner
        self.run_spec = run_spec
        self.pipeline = pipeline
        given = {each["name"]: each["value"] for each in run_spec.get("params", [])}
        self.variables = given_params(pipeline, given)
        self.done: dict[str, TaskOutcome] = {}
        self.workspaces = self._workspaces()

    def to_end(self) -> Outcome:
        tasks, last = self.pipeline["tasks"], self.pipeline.get("finally", [])
        names = [checked(each, _CALL_FIELDS, "the task")["name"] for each in [*tasks, *last]]
        assert len(set(names)) == len(names)
        self._check_pod_specs(set(names))
        pending = list(tasks)
        while pending:
            ready = [task for task in pending if _needs(task, tasks) <= set(self.done)]
            assert ready, f"tasks that wait for each other: {[each['name'] for each in pending]}"
            # The last one that may: an order that is not declared is no order.
            task = ready[-1]
            pending.remove(task)
            is_stopped = any(each.status == FAILED for each in self.done.values())
            self.done[task["name"]] = TaskOutcome(SKIPPED) if is_stopped else self._task(task)
        self.variables["tasks.status"] = self._status()
        for name, outcome in list(self.done.items()):
            self.variables[f"tasks.{name}.status"] = outcome.status
        before_last = dict(self.done)
        for task in last:
            assert not {"runAfter"} & set(task), "tasks of finally have no order"
            assert not _used_tasks(task) - set(before_last), "tasks of finally know nothing of each other"
            self.done[task["name"]] = self._task(task, is_last=True)
        results = dict(self._results({each["name"] for each in last}))
        return Outcome(self._status(), results, self.done)

    def _status(self) -> str:
        found = {each.status for each in self.done.values()}
        return FAILED if FAILED in found else COMPLETED if SKIPPED in found else SUCCEEDED

    def _task(self, task: Document, *, is_last: bool = False) -> TaskOutcome:
        used = [(name, result) for text in _texts(task) for name, result in _RESULT_USE.findall(text)]
        if any(self.done[name].status == SKIPPED for name, _ in used):
            return TaskOutcome(SKIPPED)
        if is_last and any(result not in self.done[name].results for name, result in used):
            return TaskOutcome(SKIPPED)
        if not all(self._holds(each) for each in task.get("when", [])):
            return TaskOutcome(SKIPPED)
        spec = _task_spec(task)
        runs = [self._run(task, spec, leg, number) for number, leg in enumerate(self._legs(task))]
        log, nodes = "".join(each.log for each in runs), [node for each in runs for node in each.nodes]
        if any(each.status == FAILED for each in runs):
            return TaskOutcome(FAILED, {}, nodes, log)
        results = _gathered([each.results for each in runs]) if "matrix" in task else runs[0].results
        for name, value in results.items():
            self.variables[f"tasks.{task['name']}.results.{name}"] = value
        return TaskOutcome(SUCCEEDED, results, nodes, log)

    def _holds(self, when: Document) -> bool:
        checked(when, {"input", "operator", "values"}, "when")
        value, values = replaced(when["input"], self.variables), replaced(when["values"], self.variables)
        return bool((value in values) == {"in": True, "notin": False}[when["operator"]])

    def _legs(self, task: Document) -> Iterator[Mapping[str, Value]]:
        """Parameters of each run: all combinations of a matrix (matrix.md)."""
        matrix = checked(task.get("matrix", {"params": []}), {"params"}, "the matrix")
        values = [replaced(each["value"], self.variables) for each in matrix["params"]]
        assert all(isinstance(each, list) and each for each in values), "a matrix is made of arrays"
        names = [each["name"] for each in matrix["params"]]
        for combination in itertools.product(*values):
            yield dict(zip(names, combination, strict=True))

    def _run(self, task: Document, spec: Document, leg: Mapping[str, Value], number: int) -> TaskOutcome:
        own = {each["name"]: replaced_whole(each["value"], self.variables) for each in task.get("params", [])}
        assert not set(own) & set(leg), "parameters of the matrix, given twice"
        params = {**own, **leg}
        place = f"{task['name']}-{number}"
        architecture, options = self._pod(task["name"], given_params(spec, params))
        node = self.runner.nodes[architecture or next(iter(self.runner.nodes))]
        pod = replace(
            node, directory=self.runner.directory / place, options=[*node.options, *options], logs=[]
        )
        try:
            results = pod.run(spec, params, dict(self._bindings(task, place)))
        except RefusedError as error:
            return TaskOutcome(FAILED, {}, [architecture], f"{''.join(pod.logs)}{error}")
        return TaskOutcome(SUCCEEDED, results, [architecture], "".join(pod.logs))

    def _check_pod_specs(self, tasks: set[str]) -> None:
        for each in self.run_spec.get("taskRunSpecs", []):
            checked(each, {"pipelineTaskName", "podTemplate"}, "the taskRunSpecs")
            assert each["pipelineTaskName"] in tasks
        checked(self.run_spec.get("taskRunTemplate", {}), {"podTemplate"}, "the taskRunTemplate")

    def _pod(self, task: str, params: Mapping[str, Value]) -> tuple[str, Sequence[str]]:
        """The architecture that its node must have, and Docker's options for the rest of a podTemplate."""
        template = dict(self.run_spec.get("taskRunTemplate", {}).get("podTemplate", {}))
        for each in self.run_spec.get("taskRunSpecs", []):
            if each["pipelineTaskName"] == task:
                template |= replaced(each["podTemplate"], params)
        checked(template, {"nodeSelector", "securityContext"}, "the podTemplate")
        selector = checked(template.get("nodeSelector", {}), {_ARCHITECTURE}, "the nodeSelector")
        group = _group(template)
        return selector.get(_ARCHITECTURE, ""), [f"--group-add={group}"] if group else []

    def _workspaces(self) -> dict[str, Path | None]:
        """The directory of each that is bound; None for those that each pod has for itself."""
        declared = {
            each["name"]: checked(each, {"name", "description", "optional"}, "the workspace")
            for each in self.pipeline.get("workspaces", [])
        }
        bound = {each["name"]: each for each in self.run_spec.get("workspaces", [])}
        assert set(bound) <= set(declared), f"unknown workspaces: {set(bound) - set(declared)}"
        missing = {name for name, each in declared.items() if not each.get("optional")} - set(bound)
        assert not missing, f"workspaces that are not bound: {missing}"
        for name in declared:
            self.variables[f"workspaces.{name}.bound"] = str(name in bound).lower()
        return {name: self._directory(each) for name, each in bound.items()}

    def _directory(self, binding: Document) -> Path | None:
        sources: Mapping[str, Callable[[Document], Path | None]] = {
            "volumeClaimTemplate": lambda _: self._new_volume(binding["name"]),
            "emptyDir": lambda _: None,
            "secret": lambda it: self.runner.volumes[checked(it, {"secretName"}, "secret")["secretName"]],
            "configMap": lambda it: self.runner.volumes[checked(it, {"name"}, "configMap")["name"]],
            "persistentVolumeClaim": lambda it: self.runner.volumes[
                checked(it, {"claimName"}, "persistentVolumeClaim")["claimName"]
            ],
        }
        checked(binding, {"name", "subPath", *sources}, "the workspace")
        (kind,) = set(binding) & set(sources)
        path = sources[kind](binding[kind])
        if "subPath" not in binding:
            return path
        assert path is not None, "an emptyDir has no subPath"
        return self._within(path, binding["subPath"])

    def _new_volume(self, name: str) -> Path:
        """A volume as its driver makes it: root's, with the group of the pods where they have one."""
        path = self.runner.directory / f"claim-{name}"
        path.mkdir(parents=True)
        if group := _group(self.run_spec.get("taskRunTemplate", {}).get("podTemplate", {})):
            os.chown(path, 0, group)
            path.chmod(0o2775)
        return path

    def _within(self, path: Path, sub_path: str) -> Path:
        inside = path / sub_path
        assert inside.resolve().is_relative_to(path.resolve())
        if not inside.exists():
            inside.mkdir(parents=True)
            inside.chmod(path.stat().st_mode & 0o7777)
        return inside

    def _bindings(self, task: Document, place: str) -> Iterator[tuple[str, Path]]:
        outer = {each["name"] for each in self.pipeline.get("workspaces", [])}
        for each in task.get("workspaces", []):
            checked(each, {"name", "workspace", "subPath"}, "the workspace of a task")
            name = each["workspace"]
            assert name in outer, f"the Pipeline has no workspace {name}"
            if name not in self.workspaces:
                continue
            path = self.workspaces[name]
            if path is None:
                path = self.runner.directory / f"empty-{place}-{name}"
                path.mkdir(parents=True)
                path.chmod(0o777)
            sub_path = replaced(each.get("subPath", ""), self.variables)
            yield each["name"], self._within(path, sub_path) if sub_path else path

    def _results(self, last: set[str]) -> Iterator[tuple[str, Value]]:
        """Those that there are: what refers to a task without success is left out."""
        for name in last:
            for result, value in self.done[name].results.items():
                self.variables[f"finally.{name}.results.{result}"] = value
        for each in self.pipeline.get("results", []):
            checked(each, {"name", "description", "type", "value"}, "the result")
            try:
                value = replaced_whole(each["value"], self.variables)
            except VariableError:
                assert self._lacks(each["value"]), f"nothing has the result {each['value']}"
                continue
            yield each["name"], typed(each["name"], value, each.get("type", "string"))

    def _lacks(self, value: Any) -> bool:
        """Whether it refers to a result that its task might have had."""
        used = [use for text in _texts(value) for use in _RESULT_USE.findall(text)]
        return any(result not in self.done[name].results for name, result in used)


def _group(pod_template: Document) -> int:
    context = checked(pod_template.get("securityContext", {}), {"fsGroup"}, "the securityContext of pods")
    group: int = context.get("fsGroup", 0)
    return group


def _task_spec(task: Document) -> Document:
    assert ("taskSpec" in task) != ("taskRef" in task)
    if "taskSpec" in task:
        spec: Document = task["taskSpec"]
        return spec
    reference = checked(task["taskRef"], {"name", "kind"}, "the reference")
    assert reference.get("kind", "Task") == "Task"
    (path,) = TASKS.glob(f"{reference['name']}/*/{reference['name']}.yaml")
    return load_task(path)


def _needs(task: Document, tasks: Sequence[Document]) -> set[str]:
    needed = {*task.get("runAfter", []), *_used_tasks(task)}
    unknown = needed - {each["name"] for each in tasks}
    assert not unknown, f"{task['name']} needs tasks that are not there: {unknown}"
    return needed


def _used_tasks(task: Document) -> set[str]:
    return {name for text in _texts(task) for name, _ in _RESULT_USE.findall(text)}


def _gathered(runs: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """Results of a matrix: of each text, an array in the order of the runs."""
    gathered: dict[str, Value] = {}
    for name in runs[0]:
        values = [each[name] for each in runs if name in each]
        assert len(values) == len(runs), f"not every run of the matrix has the result {name}"
        texts = [each for each in values if isinstance(each, str)]
        assert len(texts) == len(values), f"a matrix has no results of the type of {name}"
        gathered[name] = texts
    return gathered


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if key != "taskSpec":
                yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
