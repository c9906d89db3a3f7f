"""The GitLab template with its inputs filled in, as far as tests of single jobs need it."""

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import yaml

TEMPLATE = Path(__file__).parents[2] / "ci/gitlab/knarr.yml"
_TYPES: Mapping[str, type] = {"string": str, "boolean": bool, "array": list}
_INPUT = re.compile(r"\$\[\[ inputs\.([a-z-]+) \]\]")


def load() -> tuple[dict[str, Any], dict[str, Any]]:
    """The description of the inputs by name, and the jobs as they are written."""
    header, jobs = yaml.safe_load_all(TEMPLATE.read_text())
    return header["spec"]["inputs"], jobs


def job(name: str, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A job with the given inputs, the others at their defaults, and with what it extends."""
    declared, jobs = load()
    values = {key: entry.get("default", "") for key, entry in declared.items()} | dict(inputs or {})
    filled = _filled(jobs, values)
    return _extended(filled, name)


def jobs(inputs: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Every job, those that others extend too, by name."""
    _, written = load()
    name = (inputs or {}).get("name", "knarr")
    return {each: job(each, inputs) for key in written for each in [key.replace("$[[ inputs.name ]]", name)]}


def check_inputs(inputs: Mapping[str, Any]) -> None:
    """Assert that the template takes these: names, types, options, patterns, and that each has a value."""
    declared, _ = load()
    assert set(inputs) <= set(declared), f"unknown inputs: {set(inputs) - set(declared)}"
    for name, value in inputs.items():
        entry = declared[name]
        assert isinstance(value, _TYPES[entry.get("type", "string")]), f"{name} is of another type"
        assert value in entry.get("options", [value]), f"{name}: {value} is no option"
        assert re.search(entry.get("regex", ""), value if isinstance(value, str) else ""), name
    assert {name for name, entry in declared.items() if "default" not in entry} <= set(inputs)


def check_schema(pipeline: Mapping[str, Any]) -> None:
    """Assert that GitLab's own schema takes this as a configuration."""
    vendored = files("check_jsonschema") / "builtin_schemas/vendor/gitlab-ci.json"
    validator = jsonschema.Draft7Validator(json.loads(vendored.read_text()))
    assert [error.message for error in validator.iter_errors(pipeline)] == []


def environment_of(job_: Mapping[str, Any]) -> dict[str, str]:
    """The job's variables as its shell sees them; nothing is expanded, whether GitLab would or not."""
    variables = job_["variables"].items()
    return {name: _text(value["value"] if isinstance(value, dict) else value) for name, value in variables}


def script_of(job_: Mapping[str, Any]) -> str:
    """The lines that a runner gives to one shell."""
    return "set -e\n" + "\n".join([*job_["before_script"], *job_["script"]])


def _extended(jobs: Mapping[str, Any], name: str) -> dict[str, Any]:
    own = jobs[name]
    base = _extended(jobs, own["extends"]) if "extends" in own else {}
    variables = {**base.get("variables", {}), **own.get("variables", {})}
    joined = {**base, **own, "variables": variables}
    joined.pop("extends", None)
    if "rules" in joined:
        joined["rules"] = _flat(joined["rules"])
    return joined


def _flat(rules: list[Any]) -> list[Any]:
    """GitLab takes lists of rules within a list of rules, up to ten deep."""
    return [rule for each in rules for rule in (_flat(each) if isinstance(each, list) else [each])]


def _filled(node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {_filled(key, values): _filled(item, values) for key, item in node.items()}
    if isinstance(node, list):
        return [_filled(item, values) for item in node]
    if not isinstance(node, str):
        return node
    whole = _INPUT.fullmatch(node)
    if whole is not None:
        return values[whole[1]]
    return _INPUT.sub(lambda found: _text(values[found[1]]), node)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
