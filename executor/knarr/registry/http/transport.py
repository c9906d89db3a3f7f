"""HTTP/1.1 connections to registries; the one module that knows the HTTP library."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from knarr.errors import CorruptError, RegistryError
from knarr.registry.http.failures import ConnectionFaultError, Tls, connection_fault, unanswered
from knarr.registry.http.hosts import TlsSettings
from knarr.registry.http.locations import redacted
from knarr.registry.http.message import NOTHING, Body

if TYPE_CHECKING:
    import httpcore2

_SEND_CHUNK = 1024 * 1024
_SLOWEST_BYTES = 16 * 1024
_KEEP_ALIVE_S = 30.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds until a connection stands, until the next bytes must have moved, until what is sent is kept."""

    connect_s: float = 20.0
    progress_s: float = 60.0
    answer_s: float = 1800.0
    """For a request that stores something, from its last byte on: a registry may copy it to its store first.

    A peer that is gone is known sooner: connections are kept alive.
    """


class Response:
    """An answer whose body is still to be read; the caller closes it."""

    def __init__(
        self,
        method: str,
        url: str,
        inner: "httpcore2.Response",
        *,
        clock: Callable[[], float],
        stall_s: float,
    ) -> None:
        import httpx2

        self.method = method
        self.url = url
        self.status = inner.status
        self.headers: Mapping[str, str] = dict(httpx2.Headers(inner.headers).items())
        self.is_foreign = False
        """Whether another host than the one asked gave it, after a redirect."""
        self.shown = NOTHING
        """What the request showed of us."""
        self._inner = inner
        self._clock = clock
        self._stall_s = stall_s

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes; ConnectionFaultError where it stops, or only drips."""
        from knarr.registry.http.heads import FAULTS

        waited_s, received, asked_at = 0.0, 0, self._clock()
        try:
            for chunk in self._stream():
                # Only the waiting counts: a reader that takes its time is not the registry's fault.
                waited_s += self._clock() - asked_at
                received += len(chunk)
                if received >= _SLOWEST_BYTES:
                    waited_s, received = 0.0, 0
                elif waited_s > self._stall_s:
                    raise ConnectionFaultError(
                        f"{self.method} {redacted(self.url)}: less than {_SLOWEST_BYTES} bytes came "
                        f"within {self._stall_s:g} s"
                    )
                yield chunk
                asked_at = self._clock()
        except FAULTS as error:
            raise connection_fault(self.method, self.url, error) from error

    def read(self, limit_bytes: int, *, what: str) -> bytes:
        """The whole body; CorruptError where it is longer than the limit."""
        data = self.read_some(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise CorruptError(f"{what} from {redacted(self.url)} is larger than {limit_bytes} bytes")
        return data

    def read_some(self, limit_bytes: int) -> bytes:
        """The start of the body."""
        parts: list[bytes] = []
        left = limit_bytes
        for chunk in self.chunks():
            parts.append(chunk[:left])
            left -= len(parts[-1])
            if left <= 0:
                break
        return b"".join(parts)

    def read_what_comes(self, limit_bytes: int) -> bytes:
        """The start of a body that nobody depends on: where it breaks off, what came before."""
        parts: list[bytes] = []
        with suppress(ConnectionFaultError):
            for chunk in self.chunks():
                parts.append(chunk)
                if sum(map(len, parts)) >= limit_bytes:
                    break
        return b"".join(parts)[:limit_bytes]

    def close(self) -> None:
        """Give the connection back, or drop it where the body was not read to its end."""
        self._inner.close()

    def _stream(self) -> Iterator[bytes]:
        return iter(cast(Iterable[bytes], self._inner.stream))  # a second one gives what is left


class Transport:
    """Connection pools by TLS settings and proxy; safe to use from several threads.

    Nothing is read from the environment, no cookie is kept, no redirect followed.
    """

    def __init__(
        self,
        *,
        timeouts: Timeouts,
        system_ca_file: Path | None,
        added_certificates: Sequence[str] = (),
        clock: Callable[[], float],
        on_silence: Callable[[str], None] = lambda host: None,
    ) -> None:
        self._timeouts = timeouts
        self._on_silence = on_silence
        self._system_ca_file = system_ca_file
        self._added_certificates = added_certificates
        self._clock = clock
        self.trusted: bytes | None = None
        """The system's certificates, where `prepare` has read them; their files are needed no more then."""
        self._prepared: dict[TlsSettings, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self._pools: dict[tuple[TlsSettings | None, str | None], httpcore2.ConnectionPool] = {}
        self._is_closed = False

    def prepare(self, settings: Iterable[TlsSettings] = ()) -> None:
        """Read the system's certificates into memory, and those of these settings. Raises RegistryError."""
        context = self._context(TlsSettings())
        self.trusted = b"".join(context.get_ca_certs(binary_form=True))
        self._prepared = {each: self._context(each) for each in settings}
        with suppress(OSError):  # the C library reads how it resolves names when it first does
            socket.getaddrinfo("localhost", 443, type=socket.SOCK_STREAM)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Body | None,
        tls: TlsSettings,
        proxy: str | None,
        stores: bool = False,
        patience: int = 1,
        timeouts: Timeouts | None = None,
    ) -> Response:
        """Send a request, return its answer with the body unread. Raises ConnectionFaultError.

        With `stores` the peer may take as long as `answer_s` before it answers, else `patience` times the
        usual. `timeouts` are instead of the transport's own.
        """
        import httpx2

        from knarr.registry.http.heads import CONNECT_FAULTS, FAULTS, is_silence, send

        pool = self._pool(tls if url.startswith("https:") or proxy else None, proxy)
        if pool is None:
            raise _closed(method, url)
        timeouts = timeouts or self._timeouts
        progress_s = timeouts.progress_s
        longest_s = max(timeouts.answer_s, progress_s)
        answer_s = longest_s if stores else min(progress_s * patience, longest_s)
        limits = httpx2.Timeout(connect=timeouts.connect_s, read=answer_s, write=progress_s, pool=None)
        sent = dict(headers)
        if body is not None:
            sent["Content-Length"] = str(body.size_bytes)
        try:
            request = httpx2.Request(
                method,
                url,
                headers=sent,
                content=_send(body) if body is not None else None,
                extensions={"timeout": limits.as_dict()},
            )
            inner = send(pool, request)
        except (*FAULTS, httpx2.InvalidURL) as error:
            if stores and is_silence(error):
                raise unanswered(method, url, answer_s) from error
            fault = connection_fault(method, url, error)
            if fault.tls is Tls.ABSENT and not isinstance(error, CONNECT_FAULTS):
                fault.tls = Tls.SPOKEN  # what failed came after it
            raise fault from error
        with self._lock:
            is_closed = self._is_closed
        if is_closed:
            # A pool that is closed while it connects knows nothing of that connection.
            inner.extensions["network_stream"].close()
            raise _closed(method, url)
        return Response(method, url, inner, clock=self._clock, stall_s=progress_s)

    def try_tls(self, host: str, port: int, *, tls: TlsSettings, limits: Timeouts) -> Tls:
        """What a port shows of TLS to who connects directly and says nothing."""
        name = host.strip("[]")
        context = self._context(tls)
        try:
            connect_s = min(limits.connect_s, self._timeouts.connect_s)
            with socket.create_connection((name, port), connect_s) as plain:
                plain.settimeout(min(limits.progress_s, self._timeouts.progress_s))
                with context.wrap_socket(plain, server_hostname=name):
                    return Tls.SPOKEN
        except (OSError, UnicodeError) as error:
            return connection_fault("GET", f"https://{host}:{port}/", error).tls

    def close(self) -> None:
        """Close all connections; requests of other threads that still run, or come later, fail."""
        with self._lock:
            self._is_closed = True
            pools = list(self._pools.values())
            self._pools.clear()
        for pool in pools:
            pool.close()

    def _pool(self, tls: TlsSettings | None, proxy: str | None) -> "httpcore2.ConnectionPool | None":
        from knarr.registry.http.heads import open_pool

        with self._lock:
            if self._is_closed:
                return None
            pool = self._pools.get((tls, proxy))
            if pool is None:
                pool = self._pools[tls, proxy] = open_pool(
                    self._context(tls) if tls is not None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                    proxy,
                    keep_alive_s=_KEEP_ALIVE_S,
                    limit_s=2 * self._timeouts.progress_s,
                    on_silence=self._on_silence,
                )
        return pool

    def _context(self, tls: TlsSettings) -> ssl.SSLContext:
        if tls in self._prepared:
            return self._prepared[tls]
        try:
            # Not create_default_context: that takes SSLKEYLOGFILE from the environment.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if self.trusted is not None:
                context.load_verify_locations(cadata=self.trusted)
            elif self._system_ca_file is not None:
                context.load_verify_locations(cafile=self._system_ca_file)
            else:
                context.load_default_certs()
            _trust(context, self._added_certificates)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if tls.ca_file is not None:
                context.load_verify_locations(cafile=tls.ca_file)
            if tls.client_certificate is not None:
                pair = tls.client_certificate
                # An encrypted key would ask on the terminal; a build has nobody to answer.
                context.load_cert_chain(pair.certificate, pair.key, password=lambda: b"")
        except (OSError, ssl.SSLError) as error:
            files = [self._system_ca_file, tls.ca_file, tls.client_certificate]
            named = ", ".join(str(file) for file in files if file is not None)
            raise RegistryError(f"can't load certificates: {named}: {error.strerror or error}") from error
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _closed(method: str, url: str) -> ConnectionFaultError:
    return ConnectionFaultError(f"{method} {redacted(url)}: the client is closed", is_transient=False)


def _trust(context: ssl.SSLContext, certificates: Sequence[str]) -> None:
    """Trust each, but for those that OpenSSL can't read: the host at hand need not depend on them."""
    for certificate in certificates:
        with contextlib.suppress(ssl.SSLError):
            context.load_verify_locations(cadata=certificate)


def _send(body: Body) -> Iterator[bytes]:
    left = body.size_bytes
    with body.source() as file:
        while left > 0:
            chunk = file.read(min(left, _SEND_CHUNK))
            if not chunk:
                raise CorruptError(f"a blob to be sent ends {left} bytes before its size")
            left -= len(chunk)
            yield chunk
