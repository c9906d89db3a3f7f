"""The wrappers' files: their schemas, their style, what checkers of security say, their scripts."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts.input_tables import readmes

from support import gitlab_template

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ACTIONS = sorted(REPOSITORY.glob("github-actions/*/action.yml"))
LINE_LENGTH = "{max: 120, allow-non-breakable-inline-mappings: true}"
"""The name of an image with its digest can't be broken."""
YAMLLINT = f"{{extends: default, rules: {{line-length: {LINE_LENGTH}, document-start: disable}}}}"

each_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda path: path.parent.name)


def _run(*command: str | Path, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr


def _action(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def test_yaml_style() -> None:
    _run(BIN / "yamllint", "--strict", "-d", YAMLLINT, gitlab_template.TEMPLATE, *ACTIONS)


@each_action
def test_action_has_the_schema_of_actions(action: Path) -> None:
    _run(BIN / "check-jsonschema", "--builtin-schema=vendor.github-actions", action)


@each_action
def test_action_passes_the_action_linter(action: Path) -> None:
    _run(BIN / "jactionlint", f"--shellcheck={BIN / 'shellcheck'}", action)


def test_actions_pass_the_security_linter() -> None:
    _run(BIN / "zizmor", "--offline", "--quiet", "--pedantic", *ACTIONS)


def test_template_has_the_schema_of_gitlab() -> None:
    header = next(yaml.safe_load_all(gitlab_template.TEMPLATE.read_text()))
    declared, _ = gitlab_template.load()
    gitlab_template.check_schema(header)
    gitlab_template.check_schema(gitlab_template.jobs())
    assert set(_inputs_used()) == set(declared)


def _inputs_used() -> list[str]:
    return re.findall(r"\$\[\[ inputs\.([a-z-]+) \]\]", gitlab_template.TEMPLATE.read_text())


@pytest.mark.parametrize("name", ["build", "index", "warm", "promote"])
def test_script_of_a_job(name: str) -> None:
    script = gitlab_template.script_of(gitlab_template.job(f"knarr-{name}"))
    # SC2086: lists are split at newlines on purpose; SC2153: variables of the job.
    excluded = "--exclude=SC2086,SC2153"
    _run(BIN / "shellcheck", "--shell=busybox", excluded, "-", text=script)


def test_no_input_gets_into_a_script_of_gitlab() -> None:
    _, jobs = gitlab_template.load()
    for each in jobs.values():
        assert "$[[" not in json.dumps([each.get("script"), each.get("before_script")])


@each_action
def test_no_input_gets_into_a_script_of_github(action: Path) -> None:
    for step in _action(action)["runs"]["steps"]:
        assert "${{" not in step["run"]


@each_action
def test_every_input_is_handed_over(action: Path) -> None:
    document = _action(action)
    (step,) = document["runs"]["steps"]
    assert step["env"] == {
        f"KNARR_INPUT_{name.upper().replace('-', '_')}": f"${{{{ inputs.{name} }}}}"
        for name in document["inputs"]
    }


def test_tables_of_inputs_are_those_of_the_wrappers() -> None:
    for path, text in readmes():
        assert path.read_text() == text, "hint: make tables"
