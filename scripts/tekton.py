"""Writes what is made of the Tekton Tasks: the StepActions, the tables of their READMEs.

    python3 -m scripts.tekton [--check]

With `--check` it writes nothing, and fails where a file differs. A step of a Task becomes a StepAction: what
was a workspace is a parameter with its path there, for StepActions have no workspaces.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

TASKS = Path("tasks/tekton")
_REPOSITORY = Path(__file__).resolve().parent.parent
_NOTE = "# Made of {task} by scripts/tekton.py: change that, then run `make tables`.\n---\n"
_WORKSPACE_PATH = re.compile(r"\$\(workspaces\.([a-z-]+)\.path\)")
_RESULT_PATH = re.compile(r"\$\(results\.([A-Za-z_-]+)\.path\)")
_PARAM = re.compile(r"\$\(params\.([A-Za-z0-9_-]+)(?:\[\*\])?\)")
_RESULT = re.compile(r"\$\(step\.results\.([A-Za-z_-]+)\.path\)")
_STEP_ACTIONS: Mapping[str, Mapping[str, str]] = {
    "knarr-build": {"build-and-push": "knarr-build"},
    "knarr-index": {"index": "knarr-index"},
    "knarr-warm": {"warm": "knarr-warm"},
    "knarr-context": {"git": "knarr-context-git", "archive": "knarr-context-archive"},
}
"""By Task and step, the name of the StepAction."""

Document = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Write or check every file; returns the exit status."""
    if arguments not in ([], ["--check"]):
        print("usage: python3 -m scripts.tekton [--check]", file=sys.stderr)
        return 2
    stale = [(path, text) for path, text in made_files() if not path.exists() or path.read_text() != text]
    for path, text in stale:
        if arguments:
            print(f"{path} is not what its Task says; hint: make tables", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if arguments and stale else 0


def made_files(repository: Path = _REPOSITORY) -> Iterator[tuple[Path, str]]:
    """Each file that is made, with the text that it should have."""
    for source in sorted((repository / TASKS).glob("knarr-*/*/knarr-*.yaml")):
        task = yaml.safe_load(source.read_text())
        readme = source.parent / "README.md"
        yield readme, _filled(readme.read_text(), task["spec"])
        name, version = task["metadata"]["name"], source.parent.name
        for step, action in _STEP_ACTIONS.get(name, {}).items():
            path = repository / TASKS / "stepactions" / action / version / f"{action}.yaml"
            note = _NOTE.format(task=source.relative_to(repository))
            yield path, note + _dumped(step_action(task, step, action))


def step_action(task: Document, step_name: str, name: str) -> Document:
    """The StepAction that does what a step of a Task does."""
    spec = task["spec"]
    step = _with_template(next(each for each in spec["steps"] if each["name"] == step_name), spec)
    body = _replaced({key: step[key] for key in _STEP_KEYS if key in step})
    annotations = dict(task["metadata"]["annotations"])
    annotations["tekton.dev/displayName"] += f" ({name})"
    text = _dumped(body)
    used_params, used_results = set(_PARAM.findall(text)), set(_RESULT.findall(text))
    paths = [_path_param(each) for each in spec.get("workspaces", [])]
    params = [each for each in (*spec["params"], *paths) if each["name"] in used_params]
    results = [each for each in spec.get("results", []) if each["name"] in used_results]
    made = {"results": results} if results else {}
    return {
        "apiVersion": "tekton.dev/v1beta1",
        "kind": "StepAction",
        "metadata": {
            "name": name,
            "labels": dict(task["metadata"]["labels"]),
            "annotations": annotations,
        },
        "spec": {"description": spec["description"], "params": params, **made, **body},
    }


_STEP_KEYS = ("image", "workingDir", "securityContext", "env", "command", "args", "script")


def _with_template(step: Document, spec: Document) -> Document:
    template = spec.get("stepTemplate", {})
    return {**template, **step, "env": [*template.get("env", []), *step.get("env", [])]}


def path_param(workspace: str) -> str:
    """The parameter with the path of what is a workspace in the Task; kaniko's StepAction has such names."""
    return f"{workspace}-path"


def _path_param(workspace: Document) -> Document:
    param = {
        "name": path_param(workspace["name"]),
        "description": f"Directory. {workspace['description']}",
    }
    return {**param, "default": ""} if workspace.get("optional") else param


def _replaced(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each) for each in value]
    if isinstance(value, str):
        value = _WORKSPACE_PATH.sub(lambda match: f"$(params.{path_param(match[1])})", value)
        return _RESULT_PATH.sub(r"$(step.results.\1.path)", value)
    return value


def _filled(text: str, spec: Document) -> str:
    for name, lines in (
        ("parameters", [_param_line(each) for each in spec["params"]]),
        ("workspaces", [_workspace_line(each) for each in spec.get("workspaces", [])]),
        ("results", [_line(each["name"], each["description"]) for each in spec.get("results", [])]),
    ):
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
        block = start + "".join(lines) + end
        text, count = pattern.subn(lambda _, block=block: block, text)  # type: ignore[misc]
        if count != bool(lines):
            raise ValueError(f"there is no place for the {name}, or more than one")
    return text


def _param_line(param: Document) -> str:
    if "default" not in param:
        return _line(param["name"], param["description"], "required")
    default = param["default"]
    if default in ("", []):
        return _line(param["name"], param["description"])
    return _line(param["name"], param["description"], f"default: `{default}`")


def _workspace_line(workspace: Document) -> str:
    return _line(
        workspace["name"], workspace["description"], "optional" if workspace.get("optional") else "required"
    )


def _line(name: str, description: str, remark: str = "") -> str:
    return f"- **{name}**: {description}{f' (_{remark}_)' if remark else ''}\n"


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002
        """Indent lists, as yamllint wants them."""
        return super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dumped(document: Any) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
