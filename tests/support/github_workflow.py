"""Workflows of GitHub Actions that tests write, with what the images that they push have."""

import gzip
import io
import json
import tarfile
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from support.ci_tools import commit
from support.registry import Registry

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE = "knarr/executor:debug"
PASSWORD = "password"
AUTH = b64encode(f"user:{PASSWORD}".encode()).decode()


def use(action: str, given: Mapping[str, str]) -> dict[str, Any]:
    """A step that uses one of the actions."""
    return {"uses": f"OWNER/knarr/github-actions/{action}@v1", "id": action, "with": dict(given)}


def write_workflow(project: Path, *steps: Mapping[str, Any]) -> None:
    """The project's only workflow: these steps on its checkout."""
    job = {"runs-on": "ubuntu-latest", "steps": [{"uses": "actions/checkout@v4"}, *steps]}
    (project / ".github/workflows/image.yml").write_text(
        yaml.safe_dump({"on": "push", "jobs": {"image": job}})
    )
    commit(project)


def top_layer(registry: Registry, repository: str) -> list[str]:
    """The names in the last layer of the image with the tag 1."""
    login = {"Authorization": f"Basic {AUTH}"}
    manifest = json.loads(registry.get(f"{repository}/manifests/1", {"Accept": MANIFEST, **login}))
    blob = registry.get(f"{repository}/blobs/{manifest['layers'][-1]['digest']}", login)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as layer:
        return layer.getnames()
