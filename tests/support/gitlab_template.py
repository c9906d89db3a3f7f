"""The GitLab template with its inputs filled in, as far as tests of single jobs need it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

TEMPLATE = Path(__file__).parents[2] / "ci/gitlab/knarr.yml"
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


def environment_of(job_: Mapping[str, Any]) -> dict[str, str]:
    """The job's variables as its shell sees them."""
    return {name: _text(value) for name, value in job_["variables"].items()}


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
