"""Which of https and http a host speaks, where plain http may be spoken at all."""

import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from knarr.registry.http.failures import ConnectionFaultError, Tls
from knarr.registry.http.hosts import Endpoint, HostRules, Plain
from knarr.registry.http.proxies import Proxies
from knarr.registry.http.transport import Timeouts, Transport

_REGISTRY_STATUSES = frozenset({200, 401})
"""What the API's root answers with (distribution-spec, "Determining Support")."""
_NO_REGISTRY = 404
_LIMIT_S = 10.0
_CONNECT_S = 5.0


class Probe:
    """Asks endpoints for little, shows them nothing, waits for no more than ten seconds."""

    def __init__(
        self, transport: Transport, rules: HostRules, proxies: Proxies, headers: Mapping[str, str]
    ) -> None:
        self._transport = transport
        self._rules = rules
        self._proxies = proxies
        self._headers = headers

    def tls(self, endpoint: Endpoint) -> Tls | None:
        """What its port shows of TLS; None where that can't be seen, because a proxy is between."""
        parts = urlsplit(endpoint.base_url)
        if self._proxies.for_url(endpoint.base_url) is not None:
            return None
        settings = self._rules.tls(parts.netloc, verify=endpoint.verify)
        limits = Timeouts(_CONNECT_S, _LIMIT_S)
        return self._transport.try_tls(parts.hostname or "", parts.port or 443, tls=settings, limits=limits)

    def status(self, endpoint: Endpoint) -> int:
        """What the root of its API answers. Raises ConnectionFaultError."""
        url = f"{endpoint.base_url}/v2/"
        response = self._transport.send(
            "GET",
            url,
            headers=self._headers,
            body=None,
            tls=self._rules.tls(urlsplit(url).netloc, verify=endpoint.verify),
            proxy=self._proxies.for_url(url),
            timeouts=Timeouts(_CONNECT_S, _LIMIT_S),
        )
        response.close()
        return response.status


class Schemes:
    """Asks each host for https once, shows it nothing; http is settled when it has answered.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, Plain], threading.Lock] = {}
        self._settled: dict[tuple[str, Plain], str] = {}

    def find(self, endpoint: Endpoint, probe: Probe, *, is_registry: bool = True) -> str:
        """The scheme to speak now, to a registry or to another service."""
        if endpoint.plain is Plain.NEVER:
            return urlsplit(endpoint.base_url).scheme
        key = _key(endpoint)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            known = self._settled.get(key)
            if known is None and _speaks_https(endpoint, probe, is_registry=is_registry):
                known = self._settled[key] = "https"
            if known is None and endpoint.plain is Plain.TOLERATED and not _speaks_http(endpoint, probe):
                return "https"  # so that its error is told
        return known or "http"

    def settle(self, endpoint: Endpoint) -> bool:
        """An endpoint has answered by its scheme; whether that is news."""
        with self._lock:
            is_news = _key(endpoint) not in self._settled
            self._settled.setdefault(_key(endpoint), urlsplit(endpoint.base_url).scheme)
        return is_news


def _key(endpoint: Endpoint) -> tuple[str, Plain]:
    return urlsplit(endpoint.base_url).netloc, endpoint.plain


def _speaks_https(endpoint: Endpoint, probe: Probe, *, is_registry: bool) -> bool:
    secure = endpoint.at("https")
    tls, status = probe.tls(secure), None
    if tls in (None, Tls.SPOKEN) and not _is_settled_by_tls(endpoint):
        tls, status = _asked(secure, probe)
    tls = tls or _asked(secure, probe)[0]
    if tls is Tls.ABSENT or _is_settled_by_tls(endpoint):
        return tls is not Tls.ABSENT
    if not is_registry or (tls is Tls.SPOKEN and status != _NO_REGISTRY):
        return tls is Tls.SPOKEN
    # What answers at 443 may be anything's front door, and the registry at 80 the one that is meant.
    return not _speaks_http(endpoint, probe)


def _speaks_http(endpoint: Endpoint, probe: Probe) -> bool:
    return _asked(endpoint.at("http"), probe)[1] in _REGISTRY_STATUSES


def _is_settled_by_tls(endpoint: Endpoint) -> bool:
    """At one port there is one service; and what nobody asked for never comes before https."""
    return urlsplit(endpoint.base_url).port is not None or endpoint.plain is Plain.TOLERATED


def _asked(endpoint: Endpoint, probe: Probe) -> tuple[Tls, int | None]:
    try:
        return Tls.SPOKEN, probe.status(endpoint)
    except ConnectionFaultError as fault:
        return fault.tls, None
