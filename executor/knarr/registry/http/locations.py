"""Where a registry sends us: redirects, upload locations, token realms."""

from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from knarr.errors import RegistryError
from knarr.registry.http.addresses import may_refer

_MAX_URL = 16 * 1024


def resolve_location(request_url: str, location: str | None, *, registry_url: str) -> str:
    """The absolute URL of a Location header.

    http behind an https request to the same host becomes https (a registry behind a TLS proxy). Raises
    RegistryError for a missing or malformed one, another scheme, a way down from https, or a host that
    the registry may not refer to.
    """
    if not location:
        raise RegistryError(f"{redacted(request_url)} answered without the Location it owes")
    return _checked(request_url, location, registry_url=registry_url, what="the Location")


def resolve_realm(registry_url: str, realm: str) -> str:
    """The URL to fetch tokens from; https, unless the registry itself is plain http. Raises RegistryError."""
    if "://" not in realm:
        raise RegistryError(
            f"{redacted(registry_url)} names a token service that is not a URL: {shown(realm)}"
        )
    return _checked(registry_url, realm, registry_url=registry_url, what="the token service")


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


def _checked(base: str, location: str, *, registry_url: str, what: str) -> str:
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
    if target.scheme == "http" and came_from.scheme == "https":
        if host != came_from.hostname:
            raise RegistryError(
                f"{redacted(base)} leads from https to plain http: {redacted(location)}",
                hint=f"{what} must be an https URL",
            )
        target = target._replace(scheme="https", netloc=came_from.netloc)
    if not may_refer(urlsplit(registry_url).hostname or "", host):
        raise RegistryError(f"{redacted(base)} sends us to {shown(host)}, an address that is not for others")
    return urlunsplit(target._replace(fragment=""))


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
