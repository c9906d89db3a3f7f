"""Questions to the services of clouds that give out credentials."""

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from knarr.errors import AuthError
from knarr.registry.http.addresses import is_loopback
from knarr.registry.http.hosts import TlsSettings
from knarr.registry.http.locations import redacted
from knarr.registry.http.message import Body, Reply
from knarr.registry.http.proxies import Proxies
from knarr.registry.http.transport import Timeouts, Transport

_MAX_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class CloudService:
    """How such services are reached: certificates always checked, no redirect followed, nothing repeated."""

    proxies: Proxies = field(default_factory=Proxies)
    system_ca_file: Path | None = None
    added_certificates: tuple[str, ...] = ()
    timeouts: Timeouts = field(default_factory=lambda: Timeouts(connect_s=2.0, progress_s=5.0))
    clock: Callable[[], float] = time.monotonic

    def ask(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        """One request with its answer, whatever its status. Raises RegistryError, CorruptError."""
        transport = Transport(
            timeouts=self.timeouts,
            system_ca_file=self.system_ca_file,
            added_certificates=self.added_certificates,
            clock=self.clock,
        )
        try:
            response = transport.send(
                method,
                url,
                headers={"Accept-Encoding": "identity", **headers},
                body=None if body is None else Body(lambda: io.BytesIO(body), len(body)),
                tls=TlsSettings(),
                proxy=self.proxies.for_url(url),
            )
            try:
                data = response.read(_MAX_ANSWER_BYTES, what="the answer")
            finally:
                response.close()
        finally:
            transport.close()
        return Reply(method, url, response.status, response.headers, data)


def require_https(url: str) -> str:
    """The URL, if what is sent there is kept from others; AuthError for plain http beyond this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise AuthError(f"{redacted(url)} is not an https URL: no credentials are sent there")
    return url
