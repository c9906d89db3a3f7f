"""Which proxy a URL goes through."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from knarr.errors import UsageError
from knarr.registry.http.addresses import is_loopback, literal

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxies:
    """Proxy URLs by scheme, with the hosts that are reached without one; an URL may hold a password."""

    http: str | None = field(default=None, repr=False)
    https: str | None = field(default=None, repr=False)
    exceptions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, environment: Mapping[str, str]) -> "Proxies":
        """Read HTTP_PROXY, HTTPS_PROXY, NO_PROXY, lower case first; UsageError for another kind."""
        return cls(
            _proxy_url(environment, "HTTP_PROXY"),
            _proxy_url(environment, "HTTPS_PROXY"),
            tuple(item for item in _variable(environment, "NO_PROXY").replace(",", " ").split() if item),
        )

    def for_url(self, url: str) -> str | None:
        """The proxy's URL, or None to connect directly; loopback never goes through a proxy."""
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or _PORTS.get(parts.scheme, 0)
        if is_loopback(host) or any(_is_match(pattern, host, port) for pattern in self.exceptions):
            return None
        return self.https if parts.scheme == "https" else self.http


def _is_match(pattern: str, host: str, port: int) -> bool:
    if pattern == "*":
        return True
    address = literal(host)
    if address is not None and "/" in pattern:
        try:
            return address in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    name, wanted_port = _split_port(pattern.lower())
    if wanted_port and wanted_port != str(port):
        return False
    if address is not None:
        return literal(name.strip("[]")) == address
    name = name.removeprefix("*")
    bare = name.removeprefix(".")
    return (host == bare and not name.startswith(".")) or host.endswith(f".{bare}")


def _split_port(pattern: str) -> tuple[str, str]:
    head, colon, tail = pattern.rpartition(":")
    is_port = bool(colon) and tail.isdigit() and (":" not in head or head.endswith("]"))
    return (head, tail) if is_port else (pattern, "")


def _variable(environment: Mapping[str, str], name: str) -> str:
    return (environment.get(name.lower()) or environment.get(name) or "").strip()


def _proxy_url(environment: Mapping[str, str], name: str) -> str | None:
    value = _variable(environment, name)
    if not value:
        return None
    url = value if "://" in value else f"http://{value}"
    if urlsplit(url).scheme not in _PORTS or not urlsplit(url).hostname:
        raise UsageError(f"{name} is not an http or https URL", hint="SOCKS proxies are not supported")
    return url
