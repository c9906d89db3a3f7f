"""Downloads of plain files over http(s), for ADD."""

import base64
import email.utils
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from knarr.errors import ContextError, CorruptError, OutputError, RegistryError
from knarr.oci.digest import Digest
from knarr.registry.client import Client
from knarr.registry.http.failures import ConnectionFaultError, NoAnswerError
from knarr.registry.http.hosts import Endpoint
from knarr.registry.http.locations import redacted, resolve_location, same_origin
from knarr.registry.http.message import Request, Shown
from knarr.registry.http.retry import Backoff
from knarr.registry.http.transport import Response

MAX_DOWNLOAD_BYTES = 10 * 1024**3

_MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GZIP_WINDOW = 31
_WANTS_CREDENTIALS = "it wants credentials: for ADD, --secret id=HTTP_AUTH_TOKEN_HOST,src=FILE has a token"
_REFUSED_HINTS = dict.fromkeys(
    (401, 403), "the credentials of the URL, or of the secret for ADD, are refused"
)
_STATUS_HINTS = {
    401: _WANTS_CREDENTIALS,
    403: _WANTS_CREDENTIALS,
    404: "check the URL",
    410: "check the URL: the file has been taken away",
    429: "the server limits requests: wait, or use a mirror",
}


@dataclass(frozen=True, slots=True)
class Download:
    """A file that came whole; `mtime_ns` is its Last-Modified, 0 where the server says none."""

    size_bytes: int
    mtime_ns: int
    digest: Digest


def download(
    client: Client,
    url: str,
    path: Path,
    *,
    authorization: str = "",
    checksum: Digest | None = None,
    limit_bytes: int = MAX_DOWNLOAD_BYTES,
) -> Download:
    """Write what a URL gives to a new file; no file is left where that fails.

    `authorization`, the value of that header, goes to the URL's own origin and nowhere else. Follows
    redirects, ten at most, never from https to http. Begins again where a connection breaks. Raises
    ContextError, CorruptError for another checksum, OutputError where the file can't be written.
    """
    backoff = Backoff(client.policy)
    while True:
        try:
            return _attempt(client, url, path, authorization, checksum, limit_bytes)
        except ConnectionFaultError as fault:
            wait_s = backoff.next_wait() if fault.is_transient else None
            if wait_s is None:
                raise ContextError(
                    f"can't download {redacted(url)}: {fault.message}", hint=fault.hint
                ) from fault
        client.sleep(wait_s)


def _attempt(
    client: Client, url: str, path: Path, authorization: str, checksum: Digest | None, limit_bytes: int
) -> Download:
    response = _open(client, url, authorization)
    try:
        _check_status(response, url)
        written = _write(_limited(_decoded(response), url, limit_bytes), path, checksum)
    finally:
        response.close()
    size, digest = written
    if checksum is not None and digest != checksum:
        path.unlink()
        raise CorruptError(
            f"{redacted(url)} came with the checksum {digest}, where {checksum} is expected",
            hint="the file has changed since the checksum was written, or is not what it claims to be",
        )
    return Download(size, _mtime_ns(response.headers.get("last-modified")), digest)


def _open(client: Client, url: str, authorization: str) -> Response:
    """The first answer that is no redirect."""
    at = url
    for _ in range(_MAX_REDIRECTS + 1):
        headers = {"Authorization": authorization} if authorization and same_origin(at, url) else {}
        request = Request(
            "GET",
            Endpoint.of_url(at),
            at,
            f"download {redacted(url)}",
            headers=headers,
            accepted=frozenset(range(200, 600)),
            is_authorised=False,
        )
        try:
            response = client.open(request)
            if response.status not in _REDIRECTS:
                response.shown = Shown(headers.get("Authorization", ""))
                return response
            location = response.headers.get("location")
            response.close()
            at = resolve_location(at, location, registry_url=url)
        except NoAnswerError as error:
            raise ContextError(error.message, hint=_fault_hint(error)) from error
        except RegistryError as error:
            raise ContextError(
                f"can't download {redacted(url)}: {error.message}", hint="use the URL it leads to"
            ) from error
    raise ContextError(
        f"can't download {redacted(url)}: more than {_MAX_REDIRECTS} redirects",
        hint="use the URL at their end",
    )


def _fault_hint(error: NoAnswerError) -> str:
    if error.is_transient:
        return "is the URL right, and the host reachable from this machine? A proxy is read from HTTPS_PROXY"
    return "SSL_CERT_FILE names the certificates to trust; http and https must not be mixed up"


def basic_authorization(userinfo: str) -> str:
    """The header's value for `user[:password]`, percent-encoded as in a URL (RFC 7617)."""
    user, _, password = userinfo.partition(":")
    token = base64.b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode()
    return f"Basic {token}"


def _check_status(response: Response, url: str) -> None:
    if 200 <= response.status < 300:
        return
    where = "" if response.url == url else f" (redirected to {redacted(response.url)})"
    hints = _STATUS_HINTS | _REFUSED_HINTS if response.shown.header else _STATUS_HINTS
    raise ContextError(
        f"can't download {redacted(url)}: the server{where} answered {response.status}",
        hint=hints.get(response.status, "the server may say more to a browser, or later"),
    )


def _decoded(response: Response) -> Iterator[bytes]:
    """The content; what the server packed for the transport, unasked, is unpacked as browsers do."""
    if response.headers.get("content-encoding", "").strip().lower() != "gzip":
        yield from response.chunks()
        return
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        for chunk in response.chunks():
            while chunk:
                # By the megabyte, so that a bomb meets the limit before it fills the memory.
                yield unpacker.decompress(chunk, 1 << 20)
                chunk = unpacker.unconsumed_tail or unpacker.unused_data
                if unpacker.eof and chunk:
                    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    except zlib.error as error:
        raise CorruptError(f"{redacted(response.url)}: its gzip content encoding is damaged") from error
    if not unpacker.eof:
        raise CorruptError(f"{redacted(response.url)}: its gzip content encoding ends early")


def _limited(chunks: Iterable[bytes], url: str, limit_bytes: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit_bytes:
            raise ContextError(
                f"can't download {redacted(url)}: it is larger than {limit_bytes} bytes",
                hint="fetch it in a RUN step, or before the build",
            )
        yield chunk


def _write(chunks: Iterable[bytes], path: Path, checksum: Digest | None) -> tuple[int, Digest]:
    algorithm = checksum.algorithm if checksum is not None else "sha256"
    hasher, size = hashlib.new(algorithm), 0
    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
        ) as file:
            for chunk in chunks:
                hasher.update(chunk)
                file.write(chunk)
                size += len(chunk)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OutputError(f"can't keep a download in {path.parent}: {error.strerror}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return size, Digest(algorithm, hasher.hexdigest())


def _mtime_ns(last_modified: str | None) -> int:
    """Nanoseconds since 1970 of an HTTP date (RFC 9110 section 5.6.7); 0 for anything else."""
    try:
        seconds = int(email.utils.parsedate_to_datetime(last_modified or "").timestamp())
    except (ValueError, OverflowError, TypeError):
        return 0
    return max(seconds, 0) * 10**9
