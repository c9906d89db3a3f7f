"""Where a registry sends us: redirects, upload locations, token realms."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from knarr.errors import RegistryError
from knarr.registry.http.addresses import is_loopback, may_refer

_MAX_URL = 16 * 1024


def resolve_location(
    request_url: str,
    location: str | None,
    *,
    registry_url: str,
    may_be_plain: bool = False,
    is_allowed: Callable[[str], bool] | None = None,
) -> str:
    """The absolute URL of a Location header.

    http behind an https request to the same host becomes https (a registry behind a TLS proxy). Raises
    RegistryError for a missing or malformed one, another scheme, a way down from https, or a host that
    the registry may not refer to. `is_allowed` says of `host[:port]` that the user allows its scheme and
    address whatever they are; it is given where a digest protects what comes. With `may_be_plain` the user
    allows every host to be plain.
    """
    if not location:
        raise RegistryError(f"{redacted(request_url)} answered without the Location it owes")
    rules = _Rules(registry_url, "the Location", may_be_plain=may_be_plain, is_allowed=is_allowed)
    return _checked(request_url, location, rules)


def resolve_realm(registry_url: str, realm: str, *, may_be_plain: bool = False) -> str:
    """The URL to fetch tokens from. Raises RegistryError.

    It is https, unless the registry itself is plain http, or the user said that it may be.
    """
    if "://" not in realm:
        raise RegistryError(
            f"{redacted(registry_url)} names a token service that is not a URL: {shown(realm)}"
        )
    return _checked(registry_url, realm, _Rules(registry_url, "the token service", may_be_plain=may_be_plain))


def same_origin(first: str, second: str) -> bool:
    """Whether two URLs have scheme, host and port in common."""
    return _origin(urlsplit(first)) == _origin(urlsplit(second))


def with_query(url: str, addition: str) -> str:
    """The URL with one more query parameter, what was there untouched."""
    parts = urlsplit(url)
    query = f"{parts.query}&{addition}" if parts.query else addition
    return urlunsplit(parts._replace(query=query, fragment=""))


def redacted(url: str) -> str:
    """A URL fit for messages: no user, no password, no query (signatures are there)."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return shown(urlunsplit((parts.scheme, netloc, parts.path, "", "")) + ("?..." if parts.query else ""))


def shown(text: str, *, limit: int = 300) -> str:
    """Foreign text fit for messages: one bounded line without control characters."""
    clean = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit].strip()
    )
    return clean + ("..." if len(text) > limit else "")


@dataclass(frozen=True, slots=True)
class _Rules:
    """What a registry may send us to; see `resolve_location`."""

    registry_url: str
    what: str
    may_be_plain: bool = False
    is_allowed: Callable[[str], bool] | None = None


def _checked(base: str, location: str, rules: _Rules) -> str:
    where = location.partition("?")[0].rpartition("@")[2]
    bad = RegistryError(f"{redacted(base)} sends us to a URL that is not acceptable: {shown(where)}")
    if len(location) > _MAX_URL or "\\" in location or not location.isascii() or not location.isprintable():
        raise bad
    try:
        came_from, target = urlsplit(base), urlsplit(urljoin(base, location.strip()))
        host, port = target.hostname, target.port
    except ValueError as error:
        raise bad from error
    if target.scheme not in ("http", "https") or not host or "@" in target.netloc or port == 0:
        raise bad
    is_allowed = rules.is_allowed is not None and rules.is_allowed(target.netloc)
    flag = f"--insecure-redirect={shown(target.netloc)}" if rules.is_allowed is not None else ""
    if target.scheme == "http" and came_from.scheme == "https" and not is_allowed:
        if _is_same_service(came_from, target):
            target = target._replace(scheme="https", netloc=came_from.netloc)
        elif not rules.may_be_plain:
            raise RegistryError(
                f"{redacted(base)} leads from https to plain http: {redacted(location)}",
                hint=f"{rules.what} must be an https URL" + (f", or say {flag} for blobs" if flag else ""),
            )
    if not is_allowed and not may_refer(urlsplit(rules.registry_url).hostname or "", host):
        raise RegistryError(
            f"{redacted(base)} sends us to {shown(host)}, an address that is not for others",
            hint=f"{rules.what} is at an address that only {_reach(host)} can mean: "
            "the registry must name one by which others reach it"
            + (f", or say {flag} for blobs" if flag else ""),
        )
    return urlunsplit(target._replace(fragment=""))


def _is_same_service(ours: SplitResult, target: SplitResult) -> bool:
    """Whether http to our own host is what a registry behind a TLS proxy calls itself."""
    if target.hostname != ours.hostname:
        return False
    # An object store or a token service at another port of the same host is not behind that proxy.
    return target.port in (None, 80, ours.port) or target.path.startswith("/v2/")


def _port(parts: SplitResult) -> int | None:
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _reach(host: str) -> str:
    return "that machine itself" if is_loopback(host) else "its own network"


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, parts.hostname or "", _port(parts)
