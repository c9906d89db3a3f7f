"""The executor's image: one name in all places, changed in all at once, by tag and digest at work."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from scripts.bump_image import image_name, main, wrapper_files
from scripts.input_tables import readmes
from scripts.tekton import made_files

from support import gitlab_template
from support.ci_tools import commit, run_act, run_gitlab
from support.docker_engine import Engine
from support.registry import Registry
from support.taskrun import TaskRunner, load_task
from support.tekton_files import TASKS

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MENTION = re.compile(r"[\w./:-]+/knarr/executor(?![\w-])[\w.:@-]*")
ELSEWHERE = frozenset({"REGISTRY/knarr/executor:debug"})
"""What a user makes of the image, in documents."""
TREES = ("tasks", "images", "ci", "github-actions", "docs", "samples")
NEW = f"registry.example:5000/some-where/knarr/executor:v9.9.9@sha256:{'0' * 64}"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def _mentions(repository: Path) -> Iterator[tuple[Path, str]]:
    for path in wrapper_files(repository):
        for match in MENTION.finditer(path.read_text()):
            yield path.relative_to(repository), match[0].rstrip(".:")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The part of the repository that the script changes."""
    for name in TREES:
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copy(REPOSITORY / "README.md", tmp_path)
    return tmp_path


def _places(repository: Path) -> set[Path]:
    """Wherever the name has to be."""
    found = {path for path, name in _mentions(repository) if name == image_name(repository)}
    actions = {Path(f"github-actions/{name}") for name in ("build", "index")}
    assert {directory / name for directory in actions for name in ("action.yml", "README.md")} <= found
    assert {Path("ci/gitlab/knarr.yml"), Path("ci/gitlab/README.md")} <= found
    assert {Path(f"samples/kubernetes/{name}.yaml") for name in ("pod", "job")} <= found
    assert {Path("docs/github.md"), Path("docs/kubernetes.md")} <= found
    for task in ("knarr-build", "knarr-index", "knarr-warm"):
        places = {Path(f"tasks/tekton/{where}{task}/0.1/{task}.yaml") for where in ("", "stepactions/")}
        assert {*places, Path(f"tasks/tekton/{task}/0.1/README.md")} <= found
    return found


def test_all_name_one_image() -> None:
    assert {name for _, name in _mentions(REPOSITORY)} - ELSEWHERE == {image_name()}
    _places(REPOSITORY)


def test_nothing_else_names_it() -> None:
    """The script changes all places that there are."""
    left_out = {".", "build", "tests"}
    kinds = {".md", ".py", ".sh", ".toml", ".yaml", ".yml"}
    changed = set(wrapper_files(REPOSITORY))
    others = [
        path
        for top in REPOSITORY.iterdir()
        if top.name[0] not in left_out and top.name not in left_out
        for path in ([top] if top.is_file() else top.rglob("*"))
        if path.suffix in kinds and path.is_file() and path not in changed
    ]
    assert others
    assert [path for path in others if image_name() in path.read_text()] == []


def test_bumping_changes_all(copy: Path) -> None:
    before = _places(copy)
    assert main([NEW], copy) == 0
    assert image_name(copy) == NEW
    assert _places(copy) == before
    assert {name for _, name in _mentions(copy)} - ELSEWHERE == {NEW}
    assert [path for path, text in (*readmes(copy), *made_files(copy)) if path.read_text() != text] == []
    assert main([image_name()], copy) == 0
    changed = [
        path
        for path in wrapper_files(copy)
        if path.read_bytes() != (REPOSITORY / path.relative_to(copy)).read_bytes()
    ]
    assert changed == [], "and back, from a name with a digest"


def test_a_bumped_wrapper_keeps_its_form(copy: Path) -> None:
    main([NEW], copy)
    length = {"max": 120, "allow-non-breakable-inline-mappings": True}
    settings = {"extends": "default", "rules": {"line-length": length, "document-start": "disable"}}
    files = [copy / "ci/gitlab/knarr.yml", *copy.glob("github-actions/*/action.yml")]
    done = subprocess.run(
        [BIN / "yamllint", "--strict", "-d", json.dumps(settings), *files], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name", ["no tag", "a/b", f"a/b@sha256:{'0' * 64}", "a/b:1@sha256:0", f"a/b:1@sha512:{'0' * 128}", ""]
)
def test_a_name_without_tag_or_with_another_digest_is_refused(copy: Path, name: str) -> None:
    assert main([name], copy) == 2
    assert image_name(copy) == image_name()


@pytest.fixture(scope="module")
def pinned(archives: Path, base_registry: Registry) -> str:
    """The executor's image in a registry, by tag and digest."""
    name = f"{base_registry.host}/knarr/executor:v1"
    source = f"docker-archive:{archives / 'executor.tar'}:knarr/executor:debug"
    command = ["skopeo", "copy", "--quiet", "--format=oci", "--dest-tls-verify=false", source]
    subprocess.run([*command, f"docker://{name}"], check=True, stdout=subprocess.DEVNULL)
    manifest = base_registry.get("knarr/executor/manifests/v1", {"Accept": MANIFEST})
    return f"{name}@sha256:{hashlib.sha256(manifest).hexdigest()}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    return directory


@pytest.mark.docker
@pytest.mark.registry
@pytest.mark.root
@pytest.mark.runner
@pytest.mark.parametrize("wrapper", ["gitlab", "github", "tekton"])
def test_pinned_by_digest(
    wrapper: str, pinned: str, project: Path, engine: Engine, base_registry: Registry
) -> None:
    destination = f"{base_registry.host}/pinned/{wrapper}:1"
    {"gitlab": _gitlab, "github": _github, "tekton": _tekton}[wrapper](engine, project, pinned, destination)
    assert json.loads(base_registry.get(f"pinned/{wrapper}/manifests/1", {"Accept": MANIFEST}))


def _gitlab(engine: Engine, project: Path, image: str, destination: str) -> None:
    shutil.copy(gitlab_template.TEMPLATE, project / "knarr.yml")
    inputs = {"executor-image": image, "tags": destination, "registry-args": "--insecure"}
    pipeline = {"include": [{"local": "knarr.yml", "inputs": inputs}]}
    (project / ".gitlab-ci.yml").write_text(yaml.safe_dump(pipeline))
    commit(project)
    done = run_gitlab(project, docker_host=engine.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert image in done.stdout


def _github(engine: Engine, project: Path, image: str, destination: str) -> None:
    actions = project.parent / "actions"
    shutil.copytree(
        REPOSITORY / "github-actions",
        actions / "github-actions",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    commit(actions)
    given = {"runner": "docker", "executor-image": image, "push": "true", "tags": destination}
    step = {"uses": "OWNER/knarr/github-actions/build@v1", "with": {**given, "extra-args": "--insecure"}}
    workflow = project / ".github/workflows/image.yml"
    workflow.parent.mkdir(parents=True)
    steps = [{"uses": "actions/checkout@v4"}, step]
    job = {"runs-on": "ubuntu-latest", "steps": steps}
    workflow.write_text(yaml.safe_dump({"on": "push", "jobs": {"image": job}}))
    commit(project)
    done = run_act(project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode == 0, done.stdout + done.stderr


def _tekton(engine: Engine, project: Path, image: str, destination: str) -> None:
    task = load_task(TASKS / "knarr-build/0.1/knarr-build.yaml")
    params = {"IMAGE": destination, "BUILDER_IMAGE": image, "EXTRA_ARGS": ["--insecure"]}
    results = TaskRunner(engine, project.parent / "run", {}).run(task, params, {"source": project})
    assert results["IMAGE_URL"] == destination
