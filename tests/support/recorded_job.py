"""Runs a job's script of the GitLab template with busybox's shell, and gives what it calls knarr with."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support import gitlab_template

PREDEFINED: Mapping[str, str] = {
    "CI_PROJECT_URL": "https://gitlab.example/team/app",
    "CI_COMMIT_SHA": "0123456789abcdef",
    "CI_COMMIT_TIMESTAMP": "2026-01-02T03:04:05Z",
    "CI_COMMIT_REF_NAME": "main; touch pwned",
}
"""Variables of a job, with a branch that somebody chose for its name."""
PLAIN: Mapping[str, Any] = {"tags": "registry.example/app:1", "standard-labels": False}
"""Inputs of a build that says little."""

_RECORDER = """\
#!/usr/bin/python3
import json, os, sys
with open("calls", "a") as file:
    print(json.dumps([sys.argv[1:], dict(os.environ)]), file=file)
for argument in sys.argv:
    if argument.startswith("--result-file="):
        open(argument.split("=")[2], "w").write("registry.example/app@sha256:1")
"""


def recorded(
    directory: Path, job: str, inputs: Mapping[str, Any], variables: Mapping[str, str] | None = None
) -> tuple[Sequence[str], Mapping[str, str]]:
    """The arguments and the environment of the one call that the job's script makes in this directory."""
    program = directory / "bin/knarr"
    program.parent.mkdir()
    program.write_text(_RECORDER)
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    done = run_script(directory, job, inputs, {**(variables or {}), "PATH": path})
    assert done.returncode == 0, done.stderr
    (line,) = (directory / "calls").read_text().splitlines()
    arguments, environment = json.loads(line)
    return arguments, environment


def run_script(
    directory: Path, job: str, inputs: Mapping[str, Any], variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the job's script in this directory."""
    described = gitlab_template.job(job, inputs)
    return subprocess.run(
        ["busybox", "sh", "-c", gitlab_template.script_of(described)],
        cwd=directory,
        env={**PREDEFINED, **gitlab_template.environment_of(described), **variables},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
