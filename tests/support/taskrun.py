"""Runs a Tekton Task without a cluster: its steps in containers of Docker, one after the other."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support.docker_engine import Engine, RefusedError
from support.tekton_files import TASKS
from support.tekton_variables import Value, VariableError, expanded, replaced

_STEP_RESULT = re.compile(r"\$\(steps\.([a-z0-9-]+)\.results\.([A-Za-z0-9_-]+)\)")
_TASK_FIELDS = frozenset("description params results stepTemplate steps volumes workspaces".split())
_STEP_FIELDS = frozenset("args command env image script securityContext volumeMounts workingDir".split())
_CALL_FIELDS = frozenset("name params ref volumeMounts workspaces".split())
_WRITTEN = ("artifacts", "creds", "home", "results", "run/0", "steps")
"""Below /tekton, volumes that any user may write to. In `steps` Tekton has links to `run`."""
_READ = ("bin", "downward", "scripts", "serviceaccount")
"""Those that a step may only read; the last one is of Kubernetes, at _ACCOUNT."""
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_MESSAGE_BYTES, _POD_MESSAGE_BYTES = 4096, 12 * 1024
_PARAM_FIELDS = frozenset("default description name properties type".split())

Document = Mapping[str, Any]


def checked(document: Document, known: frozenset[str] | set[str], what: str) -> Document:
    """The document, all of whose fields are `known` here: one that is not would be ignored."""
    assert set(document) <= known, f"{what}: {set(document) - known} are not known here"
    return document


@dataclass(frozen=True)
class TaskRunner:
    """Where Tasks run; `images` are what stands in for the images that they name."""

    engine: Engine
    directory: Path
    images: Mapping[str, str]
    options: Sequence[str] = ()
    """Docker's, for what a cluster's network would bring."""
    interpreters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By the image that stands in: what runs its programs, where this machine does not."""
    logs: list[str] = field(default_factory=list)
    """What each step has printed, also one that failed."""

    def run(
        self,
        spec: Document,
        params: Mapping[str, Value],
        workspaces: Mapping[str, Path],
        *,
        home_files: Mapping[str, Path] | None = None,
    ) -> dict[str, Value]:
        """Run a Task's `spec`; the result are its results.

        `home_files` are what a ServiceAccount's credentials put into the home directory, by the path there.
        Raises RefusedError where a step fails.
        """
        run = _Run(self, checked(spec, _TASK_FIELDS, "the Task"), workspaces, home_files or {})
        variables = {**given_params(spec, params), **run.variables()}
        for step in spec["steps"]:
            if "ref" in step:
                checked(step, {"name", "params", "ref", "workspaces"}, f"the step {step['name']}")
            run.step(_merged(spec.get("stepTemplate", {}), step), variables)
        return run.results()


def load_task(path: Path) -> Document:
    """The `spec` of a Task in a file."""
    document = yaml.safe_load(path.read_text())
    assert document["kind"] == "Task"
    spec: Document = document["spec"]
    return spec


def given_params(spec: Document, given: Mapping[str, Value]) -> dict[str, Value]:
    """Variables of parameters, defaults for those not given."""
    declared = {
        each["name"]: checked(each, _PARAM_FIELDS, "the parameter") for each in spec.get("params", [])
    }
    assert set(given) <= set(declared), f"unknown parameters: {set(given) - set(declared)}"
    result: dict[str, Value] = {}
    for name, param in declared.items():
        if name not in given and "default" not in param:
            raise VariableError(f"the parameter {name} has no value")
        value = given[name] if name in given else param["default"]
        result[f"params.{name}"] = typed(name, value, param.get("type") or _kind(param.get("default", "")))
    return result


def typed(name: str, value: Value, kind: str) -> Value:
    """The value, which is of that type."""
    assert _kind(value) == kind, f"{name} is of type {kind}, not {value!r}"
    return value


def _kind(value: Value) -> str:
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


@dataclass
class _Run:
    runner: TaskRunner
    spec: Document
    bound: Mapping[str, Path]
    home_files: Mapping[str, Path]
    made: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shutil.rmtree(self.runner.directory, ignore_errors=True)
        for name in (*_WRITTEN, *_READ, "workspace"):
            self.made[name] = self._directory(name)
        for name in ("token", "namespace", "ca.crt"):
            (self.made["serviceaccount"] / name).write_text(name)
        (self.made["bin"] / "entrypoint").write_text("#!/bin/false\n")
        (self.made["downward"] / "ready").write_text("READY")
        for volume in self.spec.get("volumes", []):
            assert volume["emptyDir"] == {}
            self.made[f"volume {volume['name']}"] = self._directory(f"volume-{volume['name']}")
        declared = {each["name"] for each in self.spec.get("workspaces", [])}
        assert set(self.bound) <= declared, f"unknown workspaces: {set(self.bound) - declared}"

    def _directory(self, name: str) -> Path:
        path = self.runner.directory / name
        path.mkdir(parents=True)
        path.chmod(0o777)
        return path

    def variables(self) -> dict[str, Value]:
        """Those of workspaces and results."""
        result: dict[str, Value] = {}
        for workspace in self.spec.get("workspaces", []):
            name = workspace["name"]
            is_bound = name in self.bound
            assert is_bound or workspace.get("optional"), f"the workspace {name} is not bound"
            result[f"workspaces.{name}.bound"] = str(is_bound).lower()
            result[f"workspaces.{name}.path"] = _mount_path(workspace) if is_bound else ""
        for each in self.spec.get("results", []):
            result[f"results.{each['name']}.path"] = f"/tekton/results/{each['name']}"
        return result

    def step(self, step: Document, variables: Mapping[str, Value]) -> None:
        """Run one step."""
        if "ref" in step:
            self._referenced(step, variables)
            return
        checked(step, _STEP_FIELDS | {"name", "workspaces"}, f"the step {step['name']}")
        step = {
            **replaced({k: v for k, v in step.items() if k != "script"}, variables),
            "name": step["name"],
        } | ({"script": step["script"]} if "script" in step else {})
        self._run(step)

    def _referenced(self, step: Document, variables: Mapping[str, Value]) -> None:
        checked(step, _CALL_FIELDS, f"the step {step['name']}")
        (path,) = TASKS.glob(f"stepactions/{step['ref']['name']}/*/*.yaml")
        action = checked(
            yaml.safe_load(path.read_text())["spec"],
            _STEP_FIELDS | {"description", "params", "results"},
            "the StepAction",
        )
        params = {each["name"]: each["value"] for each in replaced(step.get("params", []), variables)}
        own = given_params(action, params)
        directory = self._directory(f"steps/step-{step['name']}/results")
        (self.made["steps"] / f"step-{step['name']}").chmod(0o777)
        for each in action.get("results", []):
            own[f"step.results.{each['name']}.path"] = (
                f"/tekton/steps/{directory.parent.name}/results/{each['name']}"
            )
        body = {key: each for key, each in action.items() if key not in ("params", "results", "description")}
        mounts = {key: step.get(key, []) for key in ("volumeMounts", "workspaces")}
        self.step({**body, **mounts, "name": step["name"]}, own)

    def _run(self, step: Document) -> None:
        command = [*step.get("command", []), *step.get("args", [])]
        if "script" in step:
            assert "$(params." not in step["script"], "a script takes parameters from its environment"
            script = self.made["scripts"] / step["name"]
            script.write_text(step["script"])
            script.chmod(0o755)
            command = [f"/tekton/scripts/{step['name']}", *step.get("args", [])]
        variables = _environment(step)
        command = [expanded(each, variables) for each in command]
        image = self.runner.images.get(step["image"], step["image"])
        words: list[str] = [*self.runner.interpreters.get(image, ()), *command]
        options = [f"--entrypoint={words[0]}", *self.runner.options, *self._options(step)]
        done = self.runner.engine.run_to_end(image, words[1:], options=options)
        self.runner.logs.append(done.stdout + done.stderr)
        if done.returncode:
            raise RefusedError(f"step {step['name']}: status {done.returncode}\n{done.stdout}{done.stderr}")
        self._check_message(step["name"])

    def _check_message(self, step: str) -> None:
        """The results fit into the step's message, beside Tekton's own, and that into its part of a pod's."""
        places = [self.made["results"], self.made["steps"] / f"step-{step}/results"]
        found = [path for place in places if place.exists() for path in place.iterdir()]
        entries = [{"key": path.name, "value": path.read_text(), "type": 1} for path in found]
        message = json.dumps([*entries, {"key": "StartedAt", "value": "2026-01-01T00:00:00.000Z", "type": 3}])
        # The init containers place the entrypoint, the scripts and the working directories.
        room = min(_MESSAGE_BYTES, _POD_MESSAGE_BYTES // (len(self.spec["steps"]) + 3))
        if len(message) > room:
            raise RefusedError(f"step {step}: Termination message is above max allowed size")

    def _options(self, step: Document) -> Iterator[str]:
        environment = _environment(step)
        yield from (f"--env={name}={value}" for name, value in environment.items())
        yield f"--workdir={step.get('workingDir', '/workspace')}"
        yield from security_options(step.get("securityContext", {}))
        yield f"--volume={self.made['workspace']}:/workspace"
        yield from (f"--volume={self.made[name]}:/tekton/{name}" for name in _WRITTEN)
        for name in _READ:
            place = _ACCOUNT if name == "serviceaccount" else f"/tekton/{name}"
            yield f"--volume={self.made[name]}:{place}:ro"
        termination = self.made["workspace"].with_name("termination")
        termination.write_text("")
        yield f"--volume={termination}:/tekton/termination"
        for mount in step.get("volumeMounts", []):
            checked(mount, {"name", "mountPath"}, "the mount")
            yield f"--volume={self.made['volume ' + mount['name']]}:{mount['mountPath']}"
        for workspace in self._visible(step):
            mode = ":ro" if workspace.get("readOnly") else ""
            yield f"--volume={self.bound[workspace['name']]}:{_mount_path(workspace)}{mode}"
        home = environment.get("HOME", "/root")
        yield from (f"--volume={source}:{home}/{name}" for name, source in self.home_files.items())

    def _visible(self, step: Document) -> Iterator[Document]:
        """Bound workspaces of a step: its own, and those that no other step has for itself."""
        isolated = {each["name"] for other in self.spec["steps"] for each in other.get("workspaces", [])}
        own = {each["name"]: each for each in step.get("workspaces", [])}
        for workspace in self.spec.get("workspaces", []):
            name = workspace["name"]
            if name in self.bound and (name in own or name not in isolated):
                checked(workspace, {"name", "description", "optional", "mountPath", "readOnly"}, name)
                assert own.get(name, {}).get("mountPath", _mount_path(workspace)) == _mount_path(workspace)
                yield workspace

    def results(self) -> dict[str, Value]:
        """What the steps have written; arrays and objects are JSON there."""
        found: dict[str, Value] = {}
        for each in self.spec.get("results", []):
            checked(each, {"name", "description", "type", "properties", "value"}, "the result")
            path = self.made["results"] / each["name"]
            if "value" in each:
                match = _STEP_RESULT.fullmatch(each["value"])
                assert match is not None, f"a result of this form is not known here: {each['value']}"
                path = self.made["steps"] / f"step-{match[1]}/results/{match[2]}"
            if path.exists():
                kind, text = each.get("type", "string"), path.read_text()
                found[each["name"]] = typed(
                    each["name"], text if kind == "string" else json.loads(text), kind
                )
        written = {path.name for path in self.made["results"].iterdir()}
        assert written <= set(found), f"results that the Task does not declare: {written - set(found)}"
        return found


def security_options(context: Document) -> Iterator[str]:
    """Docker's options for a securityContext; what it leaves open is as in a pod of Kubernetes."""
    known = {
        "runAsUser",
        "runAsNonRoot",
        "privileged",
        "allowPrivilegeEscalation",
        "capabilities",
        "seccompProfile",
    }
    assert set(context) <= known, context
    assert not context.get("privileged")
    assert context.get("seccompProfile", {"type": "RuntimeDefault"}) == {"type": "RuntimeDefault"}
    if "runAsUser" in context:
        assert not context.get("runAsNonRoot") or context["runAsUser"] != 0
        yield f"--user={context['runAsUser']}:0"
    if context.get("allowPrivilegeEscalation") is False:
        yield "--security-opt=no-new-privileges"
    capabilities: Mapping[str, Sequence[str]] = context.get("capabilities", {})
    yield from (f"--cap-drop={each}" for each in capabilities.get("drop", []))
    yield from (f"--cap-add={each}" for each in capabilities.get("add", []))


def _environment(step: Document) -> dict[str, str]:
    """The variables of a step: `$(NAME)` stands for those before it."""
    environment: dict[str, str] = {}
    for each in step.get("env", []):
        environment[each["name"]] = expanded(each["value"], environment)
    return environment


def _mount_path(workspace: Document) -> str:
    return str(workspace.get("mountPath", f"/workspace/{workspace['name']}"))


def _merged(template: Document, step: Document) -> Document:
    lists = {
        key: [*template.get(key, []), *step.get(key, [])]
        for key in ("env", "volumeMounts")
        if key in template or key in step
    }
    return {**template, **step, **lists}
