"""The examples with a bucket in the documents, run as they are but for the servers' addresses."""

import io
import json
import shutil
import tarfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import gitlab_template
from support.ci_tools import commit, run_act, run_gitlab
from support.object_store import lock, object_store
from support.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.runner]

REPOSITORY = Path(__file__).parents[2]
TITLE = "## A context from a bucket\n"
DOCKERFILE = b"FROM scratch\nLABEL from=bucket\nCOPY deep/file /\n"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry.start(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def bucket() -> Iterator[Mapping[str, str]]:
    """A server's address and the key that it wants, as variables."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in (("Dockerfile", DOCKERFILE), ("deep/file", b"of the archive\n")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    objects = {"app/Dockerfile": DOCKERFILE, "app/deep/file": b"deep\n", "context.tar.gz": packed.getvalue()}
    with object_store({"builds": objects}) as address:
        yield {"RCLONE_S3_ENDPOINT": address, **lock(address)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Without a Dockerfile of its own."""
    directory = tmp_path / "project"
    directory.mkdir()
    return directory


def _example(name: str) -> dict[str, Any]:
    """The block below the title, as YAML."""
    _, _, rest = (REPOSITORY / "docs" / name).read_text().partition(TITLE)
    lines = rest.partition("\n## ")[0].splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("    "))
    end = next(n for n, line in enumerate(lines) if n > begin and line and not line.startswith("    "))
    example: dict[str, Any] = yaml.safe_load(textwrap.dedent("\n".join(lines[begin:end])))
    return example


def _label(registry: Registry, name: str) -> str:
    manifest = json.loads(registry.get(f"{name}/manifests/latest", {"Accept": MANIFEST}))
    config = json.loads(registry.get(f"{name}/blobs/{manifest['config']['digest']}"))
    label: str = config["config"]["Labels"]["from"]
    return label


@pytest.mark.parametrize("form", ["directory", "archive"])
def test_gitlab(project: Path, registry: Registry, bucket: Mapping[str, str], form: str) -> None:
    shutil.copy(gitlab_template.TEMPLATE, project / "knarr.yml")
    example = _example("gitlab.md")
    (include,) = example.pop("include")
    inputs = include["inputs"]
    if form == "archive":
        inputs |= {"context": "tar://bucket/context.tar.gz", "file": "Dockerfile"}
        example["fetch"]["script"] = [
            each.replace(":s3:builds/app", ":s3:builds/context.tar.gz") for each in example["fetch"]["script"]
        ]
    inputs |= {
        "tags": f"{registry.host}/gitlab/{form}:latest",
        "registry-args": f"--insecure-registry={registry.host}",
    }
    pipeline = {"include": [{"local": "knarr.yml", "inputs": inputs}], **example}
    (project / ".gitlab-ci.yml").write_text(yaml.safe_dump(pipeline))
    commit(project)
    wrong = run_gitlab(project, variables={**bucket, "AWS_SECRET_ACCESS_KEY": "another"})
    assert wrong.returncode != 0
    assert "403" in wrong.stdout + wrong.stderr
    done = run_gitlab(project, variables=bucket)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _label(registry, f"gitlab/{form}") == "bucket"


def test_github(project: Path, registry: Registry, bucket: Mapping[str, str], tmp_path: Path) -> None:
    actions = tmp_path / "actions"
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "github-actions", actions / "github-actions", ignore=leave)
    commit(actions)
    install, fetch, build = _example("github.md")["steps"]
    assert install["run"].endswith("install --yes rclone"), "it is there already"
    build["with"] |= {
        "tags": f"{registry.host}/github/app:latest",
        "extra-args": f"--insecure-registry={registry.host}",
    }
    job = {"runs-on": "ubuntu-latest", "steps": [fetch, build]}
    workflow = {"on": "push", "jobs": {"image": job}}
    (project / ".github/workflows").mkdir(parents=True)
    (project / ".github/workflows/image.yml").write_text(yaml.safe_dump(workflow))
    commit(project)
    endpoint = {"RCLONE_S3_ENDPOINT": bucket["RCLONE_S3_ENDPOINT"]}
    for secret, is_right in (("another", False), (bucket["AWS_SECRET_ACCESS_KEY"], True)):
        keys = {"AWS_ACCESS_KEY_ID": bucket["AWS_ACCESS_KEY_ID"], "AWS_SECRET_ACCESS_KEY": secret}
        (project / ".secrets").write_text("".join(f"{name}={value}\n" for name, value in keys.items()))
        done = run_act(project, actions=actions, variables={}, environment=endpoint)
        assert (done.returncode == 0) == is_right, done.stdout + done.stderr
        assert secret not in done.stdout + done.stderr
    assert _label(registry, "github/app") == "bucket"
