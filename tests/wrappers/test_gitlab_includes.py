"""Every form of `include` that takes the GitLab template, and the inputs that it refuses."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import gitlab_template
from support.ci_tools import commit, run_gitlab

pytestmark = pytest.mark.runner

INPUTS = {"name": "other", "stage": "test", "multi-platform": True, "rules": [{"if": "$CI"}]}
HOST = "https://gitlab.example.com"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The projects of a GitLab: `tools/knarr` has the template, with the tags that are released."""
    directory = tmp_path_factory.mktemp("instance")
    project = directory / "tools/knarr.git"
    for name in ("ci/gitlab", "templates"):
        (project / name).mkdir(parents=True)
        shutil.copy(gitlab_template.TEMPLATE, project / name)
    commit(project)
    for tag in ("v0.1.0", "0.1.0"):
        subprocess.run(["git", "tag", tag], cwd=project, check=True)
    return directory


@pytest.fixture
def project(tmp_path: Path, instance: Path) -> Path:
    """A project of that GitLab; what git would fetch from there, it takes from the directory."""
    directory = tmp_path / "project"
    (directory / "templates").mkdir(parents=True)
    for name in ("knarr.yml", "templates/knarr.yml"):
        shutil.copy(gitlab_template.TEMPLATE, directory / name)
    places = f'[url "file://{instance}/"]\n\tinsteadOf = {HOST}:443/\n'
    (directory / ".gitconfig").write_text(places)
    return directory


def _jobs(project: Path, include: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    pipeline = {"include": [{**include, "inputs": dict(inputs)}]}
    (project / ".gitlab-ci.yml").write_text(yaml.safe_dump(pipeline))
    commit(project)
    command = ["git", "remote", "set-url", "origin", f"{HOST}/team/app.git"]
    subprocess.run(command, cwd=project, check=True)
    done = run_gitlab(project, ["--list-json"])
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, instance: Path) -> Any:
    """The jobs as the project's own copy of the template gives them."""
    directory = tmp_path_factory.mktemp("local")
    shutil.copy(gitlab_template.TEMPLATE, directory / "knarr.yml")
    jobs = _jobs(directory, {"local": "knarr.yml"}, INPUTS)
    wanted = [(job["name"], job["stage"]) for job in jobs if job["when"] != "never"]
    assert [each for each in wanted if "platform" in each[0]] != []
    assert ("other-index", "test") in wanted
    return jobs


@pytest.mark.parametrize(
    "include",
    [
        {"project": "tools/knarr", "ref": "v0.1.0", "file": "ci/gitlab/knarr.yml"},
        {"component": "$CI_SERVER_FQDN/tools/knarr/knarr@0.1.0"},
        {"component": "$CI_SERVER_FQDN/tools/knarr/knarr@0.1"},
        {"component": "$CI_SERVER_FQDN/$CI_PROJECT_PATH/knarr@$CI_COMMIT_SHA"},
    ],
    ids=["project", "component", "component-partial-version", "component-own"],
)
def test_forms_of_include(project: Path, expected: Any, include: dict[str, str]) -> None:
    assert _jobs(project, include, INPUTS) == expected


def test_include_of_a_url(project: Path, expected: Any) -> None:
    with _served(project) as url:
        assert _jobs(project, {"remote": f"{url}/knarr.yml"}, INPUTS) == expected


@pytest.mark.parametrize(
    "inputs",
    [
        {"image-format": "zip"},
        {"push": "perhaps"},
        {"name": "a b; c"},
        {"cache-ttl": "1h;"},
        {"matrix": "amd64"},
    ],
    ids=lambda inputs: next(iter(inputs)),
)
def test_input_of_another_kind_is_refused(project: Path, inputs: dict[str, str]) -> None:
    pipeline = {"include": [{"local": "knarr.yml", "inputs": inputs}]}
    (project / ".gitlab-ci.yml").write_text(yaml.safe_dump(pipeline))
    commit(project)
    done = run_gitlab(project, ["--list-json"])
    assert done.returncode != 0
    assert next(iter(inputs)) in done.stdout + done.stderr


@contextmanager
def _served(directory: Path) -> Iterator[str]:
    """The directory's files over HTTP, on this machine alone."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
