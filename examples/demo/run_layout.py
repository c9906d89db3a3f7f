"""Runs the image of an OCI layout with tar and unshare, without Knarr and without a daemon."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Image:
    """The one image of a layout: its manifest's digest, manifest and config, decoded."""

    layout: Path
    digest: str
    manifest: dict[str, Any]
    config: dict[str, Any]

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The layers' descriptors, the lowest first."""
        return list(self.manifest["layers"])

    @property
    def size_bytes(self) -> int:
        """Bytes of the compressed layers."""
        return sum(layer["size"] for layer in self.layers)


def read_image(layout: Path) -> Image:
    """Read index, manifest and config of a layout with one image."""
    index = json.loads((layout / "index.json").read_text())
    digest: str = index["manifests"][0]["digest"]
    manifest = json.loads(_blob(layout, digest).read_text())
    config = json.loads(_blob(layout, manifest["config"]["digest"]).read_text())
    return Image(layout, digest, manifest, config)


def unpack(image: Image, root: Path) -> None:
    """Unpack the image's layers into a fresh directory; CalledProcessError where tar fails."""
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    for layer in image.layers:
        blob = _blob(image.layout, layer["digest"])
        listing = subprocess.run(["tar", "-tzf", blob], check=True, capture_output=True, text=True).stdout
        for name in listing.splitlines():
            _delete_whiteout(root, Path(name))
        # An ordinary user can't give files away: then all of them are that user's, root inside.
        owner = "--same-owner" if os.geteuid() == 0 else "--no-same-owner"
        subprocess.run(["tar", "-xpzf", blob, owner, "--exclude", f"{_WHITEOUT}*", "-C", root], check=True)


def run(image: Image, root: Path) -> str:
    """Run the image's command as the image's user, in namespaces of its own; returns its output.

    An ordinary user has one id to give away: it is shown as the image's user's.
    """
    settings = image.config["config"]
    command = [*(settings.get("Entrypoint") or []), *(settings.get("Cmd") or [])]
    uid, gid = _find_user(root, settings.get("User") or "root")
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--root={root}"]
    if os.geteuid() == 0:
        namespaces += [f"--setuid={uid}", f"--setgid={gid}"]
    else:
        namespaces += ["--user", f"--map-user={uid}", f"--map-group={gid}"]
    namespaces += [f"--wd={settings.get('WorkingDir') or '/'}", "--"]
    # `env` is the image's: unshare itself is looked up with this machine's PATH.
    inside = ["/usr/bin/env", "-i", *(settings.get("Env") or []), *command]
    finished = subprocess.run([*namespaces, *inside], check=True, stdout=subprocess.PIPE, text=True)
    return finished.stdout


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/", 1)


def _delete_whiteout(root: Path, name: Path) -> None:
    """Delete what a whiteout of the next layer hides (image-spec layer.md, "Whiteouts")."""
    if not name.name.startswith(_WHITEOUT):
        return
    parent = root / name.parent
    one = parent / name.name.removeprefix(_WHITEOUT)
    for path in list(parent.iterdir()) if name.name == _OPAQUE else [one]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _find_user(root: Path, user: str) -> tuple[int, int]:
    for line in (root / "etc/passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if user in (name, uid):
            return int(uid), int(gid)
    raise ValueError(f"no user {user!r} in the image's /etc/passwd")
