"""Puts images of any content into a registry, wrong ones as well."""

import hashlib
import json
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from support.image_layout import CONFIG_TYPE, MANIFEST_TYPE

Json = Mapping[str, Any]


def put_image(host: str, repository: str, tag: str, config: Json, layers: Sequence[Json]) -> None:
    """Put an image of this config; the layers are descriptors of blobs that the repository has."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": put_blob(host, repository, json.dumps(config).encode(), CONFIG_TYPE),
        "layers": list(layers),
    }
    put_manifest(host, repository, tag, json.dumps(manifest).encode(), MANIFEST_TYPE)


def put_manifest(host: str, repository: str, tag: str, content: bytes, media_type: str) -> None:
    """Put a manifest or index with these very bytes."""
    url = f"http://{host}/v2/{repository}/manifests/{tag}"
    _send("PUT", url, content, {"Content-Type": media_type})


def put_blob(host: str, repository: str, content: bytes, media_type: str) -> dict[str, Any]:
    """Upload a blob; the result is its descriptor."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    location = _send("POST", f"http://{host}/v2/{repository}/blobs/uploads/", b"", {})["Location"]
    _send("PUT", f"{location}&digest={digest}", content, {"Content-Type": "application/octet-stream"})
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _send(method: str, url: str, data: bytes, headers: Mapping[str, str]) -> Mapping[str, str]:
    request = urllib.request.Request(url, data=data, headers=dict(headers), method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return dict(response.headers)
