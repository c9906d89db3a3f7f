"""A registry in memory: the script of a FaultyRegistry that keeps what is pushed to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from urllib.parse import parse_qs, urlsplit

from knarr.oci.digest import Digest
from support.faulty_registry import Answer, Asked, FaultyRegistry


class MemoryRegistry:
    """Blobs by digest, whatever their repository; manifests by repository and tag or digest.

    `files` are answered at any other path. `damaged` are digests of blobs whose bytes come back turned over.
    """

    def __init__(self) -> None:
        self.host = ""
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.files: dict[str, bytes] = {}
        self.damaged: set[str] = set()
        self.asked: list[str] = []
        self._uploads = count()

    @classmethod
    @contextmanager
    def started(cls) -> "Iterator[MemoryRegistry]":
        """One that listens on a port of 127.0.0.1."""
        memory = cls()
        with FaultyRegistry(memory) as faulty:
            memory.host = faulty.host
            yield memory

    def pulled(self, digest: object) -> int:
        """How often a blob was read."""
        return sum(line.startswith("GET ") and line.endswith(f"/blobs/{digest}") for line in self.asked)

    def forget(self, digest: object) -> None:
        """Drop the manifests that name a blob."""
        named = str(digest).encode()
        self.manifests = {path: kept for path, kept in self.manifests.items() if named not in kept[1]}

    def __call__(self, asked: Asked) -> Answer:
        parts = urlsplit(asked.path)
        self.asked.append(f"{asked.method} {parts.path}")
        kind: dict[str, Callable[[str, Asked], Answer]] = {
            "uploads": self._upload,
            "blobs": self._blob,
            "manifests": self._manifest,
        }
        for name, answer in kind.items():
            if f"/{name}/" in parts.path:
                return answer(parts.path, asked)
        return Answer(200, self.files[parts.path]) if parts.path in self.files else Answer(404)

    def _upload(self, path: str, asked: Asked) -> Answer:
        if asked.method == "POST":
            return Answer(202, headers={"Location": f"{path}{next(self._uploads)}"})
        if asked.method == "DELETE":
            return Answer(204)
        digest = parse_qs(urlsplit(asked.path).query)["digest"][0]
        assert asked.method == "PUT"
        assert digest == str(Digest.of(asked.body))
        self.blobs[digest] = asked.body
        return Answer(201, headers={"Location": path})

    def _blob(self, path: str, _: Asked) -> Answer:
        digest = path.rpartition("/")[2]
        if digest not in self.blobs:
            return Answer(404)
        data = self.blobs[digest]
        return Answer(200, data[::-1] if digest in self.damaged else data)

    def _manifest(self, path: str, asked: Asked) -> Answer:
        if asked.method == "PUT":
            self.manifests[path] = (asked.headers["content-type"], asked.body)
            by_digest = f"{path.rpartition('/')[0]}/{Digest.of(asked.body)}"
            self.manifests[by_digest] = self.manifests[path]
            return Answer(201)
        if path not in self.manifests:
            return Answer(404)
        media_type, data = self.manifests[path]
        return Answer(200, data, {"Content-Type": media_type, "Docker-Content-Digest": str(Digest.of(data))})
