"""Connections with limits on what comes before the body of an answer, for which the HTTP library has none.

It passes over any number of interim answers (RFC 9110, "Informational 1xx"), and waits anew for each byte.
"""

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpcore2
import httpx2

_MAX_BYTES = 1024 * 1024
"""Interim answers, headers and what of the body came with them."""
_SLOWEST_BYTES = 16 * 1024
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 8),
)
"""A peer that is gone is known after two and a half minutes of silence; one that works is waited for."""

FAULTS = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)
"""What a connection that fails raises."""
CONNECT_FAULTS = (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.ProxyError)
"""Those raised before there is one, TLS included."""


def is_silence(error: Exception) -> bool:
    """Whether all was sent and no answer came in time."""
    return isinstance(error, httpcore2.ReadTimeout)


def open_pool(
    context: ssl.SSLContext,
    proxy: str | None,
    *,
    keep_alive_s: float,
    limit_s: float,
    on_silence: Callable[[str], None] = lambda host: None,
) -> httpcore2.ConnectionPool:
    """A pool of HTTP/1.1 connections, which fail where an answer makes no way; the caller closes it.

    `limit_s` is how long an answer may be waited for in all until 16 KiB of it have come. A request whose
    `read` timeout is longer is waited for that long until its headers have come; `on_silence` is told the
    host once half of `limit_s` is over. `proxy` is an URL, with user and password where it asks for them.
    """
    options: dict[str, Any] = {
        "ssl_context": context,
        "max_connections": None,
        "max_keepalive_connections": 16,
        "keepalive_expiry": keep_alive_s,
        "network_backend": _Backend(httpcore2.SyncBackend(), limit_s, on_silence),
        "socket_options": _KEEP_ALIVE,
    }
    if proxy is None:
        return httpcore2.ConnectionPool(**options)
    parsed = httpx2.Proxy(proxy)
    return httpcore2.HTTPProxy(_url(parsed.url), proxy_auth=parsed.raw_auth, **options)


def send(pool: httpcore2.ConnectionPool, request: httpx2.Request) -> httpcore2.Response:
    """Send a request, return its answer with the body unread, once its headers have come.

    Raises what is in `FAULTS`.
    """
    assert isinstance(request.stream, httpx2.SyncByteStream)
    response = pool.handle_request(
        httpcore2.Request(
            request.method,
            _url(request.url),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
    )
    stream = response.extensions["network_stream"]
    if isinstance(stream, _Stream):
        stream.end_head()
    return response


def _url(url: httpx2.URL) -> httpcore2.URL:
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


class _Backend(httpcore2.NetworkBackend):
    """Another backend, its streams guarded."""

    def __init__(
        self, inner: httpcore2.NetworkBackend, limit_s: float, on_silence: Callable[[str], None]
    ) -> None:
        self._inner = inner
        self._limit_s = limit_s
        self._on_silence = on_silence

    def connect_tcp(self, host: str, *arguments: Any, **named: Any) -> httpcore2.NetworkStream:
        """See `NetworkBackend.connect_tcp`."""
        stream = self._inner.connect_tcp(host, *arguments, **named)
        return _Stream(stream, self._limit_s, lambda: self._on_silence(host))

    def sleep(self, seconds: float) -> None:
        """See `NetworkBackend.sleep`."""
        self._inner.sleep(seconds)


class _Stream(httpcore2.NetworkStream):
    """Another stream, which counts what came, and how long it was waited for, since something was sent."""

    def __init__(
        self, inner: httpcore2.NetworkStream, limit_s: float, on_silence: Callable[[], None]
    ) -> None:
        self._inner = inner
        self._limit_s = limit_s
        self._on_silence = on_silence
        self._is_tunnel_asked = False
        self._is_used = False
        self._begin()
        self._is_in_head = True

    def _begin(self) -> None:
        self._head_bytes = 0
        self._bytes = 0
        self._waited_s = 0.0

    def end_head(self) -> None:
        """The headers of an answer have come."""
        self._is_in_head = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See `NetworkStream.read`; raises ReadTimeout or RemoteProtocolError where a limit is reached."""
        # A proxy has nothing to store before it opens a tunnel, nor has anyone once an answer has begun.
        is_patient = self._is_in_head and not self._is_tunnel_asked
        asked = time.monotonic()
        data = self._read(max_bytes, timeout, is_patient=is_patient)
        self._waited_s += time.monotonic() - asked
        self._bytes += len(data)
        limit_s = max(self._limit_s, timeout or 0.0) if is_patient else self._limit_s
        if self._bytes >= _SLOWEST_BYTES:
            self._bytes, self._waited_s = 0, 0.0
        elif self._waited_s > limit_s:
            raise httpcore2.ReadTimeout(f"the answer makes no way for {limit_s:g} s")
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_BYTES:
                raise httpcore2.RemoteProtocolError(f"an answer begins with more than {_MAX_BYTES} bytes")
        return data

    def _read(self, max_bytes: int, timeout: float | None, *, is_patient: bool) -> bytes:
        usual_s = self._limit_s / 2
        if timeout is None or timeout <= usual_s:
            return self._inner.read(max_bytes, timeout)
        try:
            return self._inner.read(max_bytes, usual_s)
        except httpcore2.ReadTimeout:
            if not is_patient:
                raise
        self._on_silence()
        return self._inner.read(max_bytes, timeout - usual_s)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See `NetworkStream.write`."""
        self._begin()
        self._is_in_head = True
        self._is_tunnel_asked = not self._is_used and buffer.startswith(b"CONNECT ")
        self._is_used = True
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        """See `NetworkStream.close`; a thread that reads from it meanwhile is woken."""
        connection = self._inner.get_extra_info("socket")
        if isinstance(connection, socket.socket):
            with suppress(OSError):
                # Not a TLS socket's own: it would drop the session that another thread reads with.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """See `NetworkStream.start_tls`."""
        stream = self._inner.start_tls(ssl_context, server_hostname, timeout)
        return _Stream(stream, self._limit_s, self._on_silence)

    def get_extra_info(self, info: str) -> Any:
        """See `NetworkStream.get_extra_info`."""
        return self._inner.get_extra_info(info)
