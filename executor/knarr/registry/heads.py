"""Limits on what comes before the body of an answer, which the HTTP library has none for.

It passes over any number of interim answers (RFC 9110, "Informational 1xx"), and waits anew for each byte.
"""

import ssl
import time
from typing import Any

import httpcore2
import httpx2

_MAX_BYTES = 1024 * 1024
"""Interim answers, headers and what of the body came with them."""
_SLOWEST_BYTES = 16 * 1024


def limit_heads(transport: httpx2.HTTPTransport, limit_s: float) -> None:
    """Have the connections of a transport fail where an answer makes no way.

    `limit_s` is how long one may be waited for in all until 16 KiB of it have come.
    """
    pool = transport._pool  # there is no argument for it
    pool._network_backend = _Backend(pool._network_backend, limit_s)


def end_head(stream: Any) -> None:
    """Say that the headers of an answer have come on this stream of a response."""
    if isinstance(stream, _Stream):
        stream.end_head()


class _Backend(httpcore2.NetworkBackend):
    """Another backend, its streams guarded."""

    def __init__(self, inner: httpcore2.NetworkBackend, limit_s: float) -> None:
        self._inner = inner
        self._limit_s = limit_s

    def connect_tcp(self, *arguments: Any, **named: Any) -> httpcore2.NetworkStream:
        """See `NetworkBackend.connect_tcp`."""
        return _Stream(self._inner.connect_tcp(*arguments, **named), self._limit_s)

    def sleep(self, seconds: float) -> None:
        """See `NetworkBackend.sleep`."""
        self._inner.sleep(seconds)


class _Stream(httpcore2.NetworkStream):
    """Another stream, which counts what came, and how long it was waited for, since something was sent."""

    def __init__(self, inner: httpcore2.NetworkStream, limit_s: float) -> None:
        self._inner = inner
        self._limit_s = limit_s
        self._begin()
        self._is_in_head = True

    def _begin(self) -> None:
        self._head_bytes = 0
        self._bytes = 0
        self._waited_s = 0.0

    def end_head(self) -> None:
        self._is_in_head = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See `NetworkStream.read`; raises ReadTimeout or RemoteProtocolError where a limit is reached."""
        asked = time.monotonic()
        data = self._inner.read(max_bytes, timeout)
        self._waited_s += time.monotonic() - asked
        self._bytes += len(data)
        if self._bytes >= _SLOWEST_BYTES:
            self._bytes, self._waited_s = 0, 0.0
        elif self._waited_s > self._limit_s:
            raise httpcore2.ReadTimeout(f"the answer makes no way for {self._limit_s:g} s")
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_BYTES:
                raise httpcore2.RemoteProtocolError(f"an answer begins with more than {_MAX_BYTES} bytes")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See `NetworkStream.write`."""
        self._begin()
        self._is_in_head = True
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        """See `NetworkStream.close`."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """See `NetworkStream.start_tls`."""
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._limit_s)

    def get_extra_info(self, info: str) -> Any:
        """See `NetworkStream.get_extra_info`."""
        return self._inner.get_extra_info(info)
