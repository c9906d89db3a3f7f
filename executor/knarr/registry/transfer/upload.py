"""One blob into a repository (distribution-spec, "Pushing blobs")."""

import io
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import urlencode, urlsplit

from knarr.errors import CorruptError, RegistryError
from knarr.oci.manifest import Descriptor
from knarr.registry.client import Client
from knarr.registry.http.failures import NoAnswerError
from knarr.registry.http.hosts import Endpoint
from knarr.registry.http.locations import resolve_location, with_query
from knarr.registry.http.message import BlobSource, Body, Reply, Request, pull_scope, push_scope
from knarr.registry.http.retry import TRANSIENT_STATUSES, Backoff

_ANY_ANSWER = frozenset(range(200, 600))
_BEGUN = frozenset({200, 202, 204})
"""202 is the spec's; some registries have another one, and clients that take it."""
_STORED = frozenset({200, 201, 202, 204})
"""201 is the spec's."""
_TAKEN = 202
_HEAD_TRIES = 2
_SESSION_LOST = frozenset({404, 416})
_LOST_CODES = ("BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID", "UNKNOWN")
_TRIES = 4
_MOUNT_TRIES = 2


@dataclass(frozen=True, slots=True)
class _Mount:
    """How a registry took the wish to mount: done, an upload session instead, or neither."""

    is_done: bool = False
    session: str | None = None


class BlobUpload:
    """Brings one blob into one repository, by the cheapest way that the registry takes."""

    def __init__(self, client: Client, endpoint: Endpoint, repository: str, descriptor: Descriptor) -> None:
        self._client = client
        self._endpoint = endpoint
        self._repository = repository
        self._descriptor = descriptor

    def run(self, source: BlobSource, *, mount_from: str | None = None, is_forced: bool = False) -> str:
        """Upload, unless the registry has the blob or mounts it; returns pushed, mounted or exists.

        `mount_from` is another repository of the same registry. With `is_forced` it is not believed to
        have anything. Raises RegistryError.
        """
        if is_forced:
            self._upload(source, None)
            return "pushed"
        if self._exists():
            return "exists"
        can_mount = mount_from is not None and mount_from != self._repository
        mount = self._mount(mount_from) if mount_from is not None and can_mount else _Mount()
        if mount.is_done:
            return "mounted"
        self._upload(source, mount.session)
        return "pushed"

    def _exists(self) -> bool:
        request = Request(
            "HEAD",
            self._endpoint,
            self._endpoint.url(self._repository, f"blobs/{self._descriptor.digest}"),
            f"look for {self._what}",
            self._repository,
            (push_scope(self._repository),),
            accepted=_ANY_ANSWER,
            tries=_HEAD_TRIES,
        )
        try:
            return self._client.fetch(request).status == 200
        except (RegistryError, CorruptError):
            return False  # what is the matter is told by the upload, whose answer has a body

    def _mount(self, mount_from: str) -> _Mount:
        query = urlencode({"mount": str(self._descriptor.digest), "from": mount_from}, safe=":/")
        request = start_request(self._endpoint, self._repository, f"mount {self._what}")
        request = replace(
            request,
            url=f"{request.url}?{query}",
            scopes=(*request.scopes, pull_scope(mount_from)),
            accepted=_ANY_ANSWER,
            tries=_MOUNT_TRIES,
            stores=True,
        )
        try:
            reply = self._client.fetch(request)
            if reply.status == 201:
                return _Mount(is_done=True)
            return _Mount(session=session_url(self._endpoint, reply) if reply.status in _BEGUN else None)
        except (RegistryError, CorruptError):
            # The token service does not give both scopes, say. An upload has no need of the other repository.
            return _Mount()

    def _upload(self, source: BlobSource, session: str | None) -> None:
        backoff = Backoff(self._client.policy, tries=_TRIES)
        while True:
            error = self._try(source, session or self._start())
            if error is None or self._exists():  # it may be that only the answer was lost
                return
            wait_s = backoff.next_wait()
            if wait_s is None:
                raise error
            self._client.sleep(wait_s)
            session = None

    def _start(self) -> str:
        reply = self._client.fetch(start_request(self._endpoint, self._repository, f"upload {self._what}"))
        return session_url(self._endpoint, reply)

    def _try(self, source: BlobSource, session: str) -> RegistryError | None:
        """Send the blob in one piece; the error where another session may help, others are raised."""
        request = Request(
            "PUT",
            self._endpoint,
            with_query(session, f"digest={self._descriptor.digest}"),
            f"upload {self._what}",
            self._repository,
            (push_scope(self._repository),),
            {"Content-Type": "application/octet-stream"},
            Body(source, self._descriptor.size_bytes),
            accepted=_ANY_ANSWER,
            tries=1,
            is_authorised=self._endpoint.owns(session),
            stores=True,
        )
        try:
            reply = self._client.fetch(request)
        except NoAnswerError as error:
            if error.is_transient:
                return error
            if self._exists():
                return None
            raise
        if reply.status in _STORED:
            self._verify(reply)
            if reply.status == _TAKEN:
                self._close(request, reply)
            return None
        refused = self._client.refusal(request, reply)
        if reply.status in TRANSIENT_STATUSES | _SESSION_LOST or reply.says(*_LOST_CODES):
            return refused
        raise refused

    def _close(self, sent: Request, reply: Reply) -> None:
        """End an upload whose bytes were taken as if they were a chunk (distribution-spec, "Pushing a blob in
        chunks"); where that fails, the manifest will tell whether the blob is missing.
        """
        if self._exists():
            return
        with suppress(RegistryError, CorruptError):
            place = session_url(self._endpoint, reply) if reply.headers.get("location") else sent.url
            is_digest_told = place == sent.url or "digest=" in urlsplit(place).query
            url = place if is_digest_told else with_query(place, f"digest={self._descriptor.digest}")
            self._client.fetch(
                replace(
                    sent,
                    url=url,
                    body=Body(lambda: io.BytesIO(), 0),
                    is_authorised=self._endpoint.owns(url),
                )
            )

    def _verify(self, reply: Reply) -> None:
        stated = reply.headers.get("docker-content-digest")
        if stated and stated != str(self._descriptor.digest):
            raise RegistryError(f"can't upload {self._what}: the registry stored it as {stated[:200]!r}")

    @property
    def _what(self) -> str:
        return f"blob {self._descriptor.digest} to {self._endpoint.registry}/{self._repository}"


def start_request(endpoint: Endpoint, repository: str, doing: str) -> Request:
    """The request that begins an upload."""
    return Request(
        "POST",
        endpoint,
        endpoint.url(repository, "blobs/uploads/"),
        doing,
        repository,
        (push_scope(repository),),
        accepted=_BEGUN,
    )


def session_url(endpoint: Endpoint, reply: Reply) -> str:
    """Where the registry wants the upload to go on."""
    return resolve_location(reply.url, reply.headers.get("location"), registry_url=endpoint.base_url)
