"""Whole commands on one host whose token service refuses what goes beyond a credential: the oracle."""

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.oci import media_types
from knarr.oci.digest import Digest
from knarr.oci.image_config import ImageConfig
from knarr.oci.manifest import Manifest
from knarr.oci.reference import Reference
from knarr.registry.auth.credentials import CredentialStore
from knarr.registry.client import Client
from support.knarr_cli import knarr
from support.registry_images import SmallImage, describe, push_image
from support.token_service import ALL, READ, StrictRegistry


def _image(name: str) -> SmallImage:
    """An image with one file, of its own name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(name)
        tar.addfile(entry, io.BytesIO(name.encode()))
    layer = gzip.compress(buffer.getvalue(), mtime=0)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(buffer.getvalue()))]},
    }
    data = json.dumps(config).encode()
    assert ImageConfig.parse(data)
    manifest = Manifest(
        media_types.OCI_MANIFEST,
        describe(data, media_types.OCI_CONFIG),
        (describe(layer, media_types.OCI_LAYER_GZIP),),
    )
    return SmallImage(manifest, data, {Digest.of(item): item for item in (layer, data)})


@pytest.fixture
def strict() -> Iterator[StrictRegistry]:
    rights = {
        "": {"public/": READ},
        "maker": {"public/": ALL, "parts/tools": ALL, "parts/data": ALL},
        "reader": {"parts/tools": READ, "parts/data": READ},
        "ci": {"team/group/app": ALL},
        "cache": {"team/cache": ALL},
    }
    with StrictRegistry(rights, {name: name for name in rights if name}).started() as registry:
        maker = base64.b64encode(b"maker:maker").decode()
        auths = json.dumps({"auths": {registry.host: {"auth": maker}}}).encode()
        with Client(credentials=CredentialStore.parse(auths, "tests")) as client:
            for name in ("public/base", "parts/tools", "parts/data"):
                push_image(
                    client, Reference.parse(f"{registry.host}/{name}:1"), _image(name.partition("/")[2])
                )
        registry.token_requests.clear()
        registry.shown.clear()
        yield registry


def _run(strict: StrictRegistry, place: Path, *arguments: str) -> str:
    auths = {
        f"{strict.host}/parts": "reader",
        f"{strict.host}/team/group": "ci",
        f"{strict.host}/team/cache": "cache",
    }
    entries = {
        name: {"auth": base64.b64encode(f"{user}:{user}".encode()).decode()} for name, user in auths.items()
    }
    (place / "docker").mkdir(exist_ok=True)
    (place / "docker/config.json").write_text(json.dumps({"auths": entries}))
    environment = {
        "DOCKER_CONFIG": str(place / "docker"),
        "HOME": str(place),
        "KNARR_DIR": str(place / "work"),
    }
    (place / "work").mkdir(exist_ok=True)
    done = knarr(arguments, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_every_command(strict: StrictRegistry, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "a").write_text("A")
    (context / "Dockerfile").write_text(
        f"FROM {strict.host}/public/base:1\nCOPY --from={strict.host}/parts/tools:1 tools /t\n"
        "COPY --from=data data /d\nCOPY a /a\n"
    )
    build = [
        "build",
        str(context),
        "--isolation=none",
        f"--build-context=data=docker-image://{strict.host}/parts/data:1",
        "--cache",
        "--cache-copy-layers",
        f"--cache-repo={strict.host}/team/cache",
        f"-d={strict.host}/team/group/app:1",
    ]
    _run(strict, tmp_path, *build)
    _run(strict, tmp_path, *build, f"--oci-layout-path={tmp_path / 'layout'}")
    app = f"{strict.host}/team/group/app"
    _run(strict, tmp_path, "push", str(tmp_path / "layout"), f"-d={app}:2")
    _run(strict, tmp_path, "index", f"{app}:1", f"-d={app}:3")
    _run(strict, tmp_path, "warm", f"-i={strict.host}/parts/tools:1", f"--cache-dir={tmp_path / 'warm'}")
    mounts = {("ci", scopes) for user, scopes in strict.refused if len(scopes) == 2}
    assert set(strict.refused) == mounts  # of the base and the parts, which `ci` may not read
    assert dict(strict.shown) == {
        "public/base": "",
        "parts/tools": "reader",
        "parts/data": "reader",
        "team/group/app": "ci",
        "team/cache": "cache",
    }
    assert len(set(strict.shown)) == 5
