"""Errors that say what a registry did, in words for the user."""

import socket
import ssl
from collections.abc import Callable, Iterator
from enum import Enum
from urllib.parse import urlsplit

from knarr.errors import AuthError, RegistryError
from knarr.registry.http.addresses import is_loopback
from knarr.registry.http.locations import redacted, shown
from knarr.registry.http.message import Reply

_TLS_MISMATCH = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNEXPECTED_MESSAGE")

_CODE_HINTS = {
    "NAME_UNKNOWN": "the repository does not exist there; some registries want it to be created first",
    "MANIFEST_UNKNOWN": "the repository has no such tag or digest",
    "TOOMANYREQUESTS": "the registry limits requests; wait, or use a mirror",
    "TAG_INVALID": "the tag may be immutable in this registry",
    "NAME_INVALID": "the registry does not take this repository name",
    "SIZE_INVALID": "the registry got another number of bytes than promised; a proxy may have cut the upload",
}
_STATUS_HINTS = {
    404: "check the name; a registry may also hide what these credentials may not see",
    405: "this may not be a registry, or it is read-only",
    413: "a proxy before the registry limits the size of uploads",
    429: "the registry limits requests; wait, or use a mirror",
    507: "the registry's storage or quota is full",
}
_ANONYMOUS_CODE_HINTS = {"TOOMANYREQUESTS": "the registry limits requests; log in, wait, or use a mirror"}
_ANONYMOUS_STATUS_HINTS = {
    404: "check the name; a registry may also hide what it shows to who has logged in",
    429: "the registry limits requests; log in, wait, or use a mirror",
}


class Tls(Enum):
    """What a port has shown of TLS."""

    ABSENT = "absent"
    """Nothing."""
    SPOKEN = "spoken"
    UNTRUSTED = "untrusted"
    """It is spoken, with a certificate that is not to be trusted."""


class ConnectionFaultError(RegistryError):
    """The transport failed: nothing, or only a part, came back; `tries` limits how often to try.

    `tls` says what was learnt of TLS at the port, where https was to be spoken.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        is_transient: bool = True,
        tries: int | None = None,
        tls: Tls = Tls.ABSENT,
    ) -> None:
        super().__init__(message, hint=hint)
        self.is_transient = is_transient
        self.tries = tries
        self.tls = tls


class NoAnswerError(RegistryError):
    """A request got no answer in the end, after all tries that it was worth."""

    def __init__(self, message: str, *, hint: str | None, is_transient: bool) -> None:
        super().__init__(message, hint=hint)
        self.is_transient = is_transient


class NotFoundError(RegistryError):
    """The registry says that there is no such thing (404)."""


def connection_fault(method: str, url: str, error: BaseException) -> ConnectionFaultError:
    """Explain why a request got no answer."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    where = f"{method} {redacted(url)}"
    for cause in _causes(error):
        for kind, explain in _EXPLANATIONS:
            if isinstance(cause, kind):
                return explain(where, host, cause)
    said = shown(str(error)) or type(error).__name__
    if "illegal status line" in said.lower():
        return ConnectionFaultError(
            f"{where}: the answer is not HTTP", hint=_https_hint(url, host), is_transient=False
        )
    return ConnectionFaultError(f"{where}: {said}")


def unanswered(method: str, url: str, waited_s: float) -> ConnectionFaultError:
    """Explain why what was sent whole is not waited for any longer; sent again, it would take as long."""
    return ConnectionFaultError(
        f"{method} {redacted(url)}: no answer within {waited_s:g} s after the last byte",
        hint="--registry-answer-timeout says how long to wait for one",
        is_transient=False,
    )


def refusal(reply: Reply, doing: str, *, tried: str = "") -> RegistryError:
    """Explain an answer that is not what was asked for; `tried` says what credentials went with it."""
    is_anonymous = not reply.shown.owner
    problems = [": ".join(part for part in (p.code, p.message) if part) for p in reply.problems]
    said = shown("; ".join(problem for problem in problems if problem) or _plain_text(reply))
    message = f"can't {doing}: {reply.method} {redacted(reply.url)} answered {reply.status}" + (
        f": {said}" if said else ""
    )
    if "HTTP request to an HTTPS server" in said or "HTTP request was sent to HTTPS port" in said:
        return RegistryError(message, hint="this port speaks https")
    if reply.status in (401, 403) and "quota" not in said.lower():
        return AuthError(message, hint=tried or None)
    codes = _CODE_HINTS | (_ANONYMOUS_CODE_HINTS if is_anonymous else {})
    statuses = _STATUS_HINTS | (_ANONYMOUS_STATUS_HINTS if is_anonymous else {})
    hints = [codes[problem.code] for problem in reply.problems if problem.code in codes]
    kind = NotFoundError if reply.status == 404 else RegistryError
    return kind(message, hint=hints[0] if hints else statuses.get(reply.status))


def _plain_text(reply: Reply) -> str:
    if reply.headers.get("content-type", "").startswith("text/html"):
        return "an HTML page, not a registry's answer"
    return reply.body[:1000].decode(errors="replace")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _https_hint(url: str, host: str) -> str:
    if urlsplit(url).scheme == "http":
        return f"{host} may want https"
    return f"{host} speaks plain http: say --insecure-registry={host} if that is meant"


def _explain_certificate(where: str, host: str, cause: BaseException) -> ConnectionFaultError:
    why = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else str(cause)
    return ConnectionFaultError(
        f"{where}: the certificate of {host} is not trusted: {shown(why)}",
        hint=f"give its CA with --registry-certificate={host}=FILE, or say --skip-tls-verify-registry={host}",
        is_transient=False,
        tls=Tls.UNTRUSTED,
    )


def _explain_tls(where: str, host: str, cause: BaseException) -> ConnectionFaultError:
    reason = str(getattr(cause, "reason", "") or "")
    if any(name in reason for name in _TLS_MISMATCH):
        return ConnectionFaultError(
            f"{where}: {host} does not answer with TLS", hint=_https_hint("https:", host), is_transient=False
        )
    is_end = isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    tls = Tls.ABSENT if is_end else Tls.SPOKEN
    return ConnectionFaultError(f"{where}: TLS failed: {shown(str(cause))}", tls=tls)


def _explain_unknown_host(where: str, host: str, cause: BaseException) -> ConnectionFaultError:
    return ConnectionFaultError(
        f"{where}: the host name {host} can't be resolved",
        hint="check the registry's name, and the machine's name server",
        tries=3,
    )


def _explain_refused(where: str, host: str, cause: BaseException) -> ConnectionFaultError:
    hint = "is the registry running?"
    if is_loopback(urlsplit(f"//{host}").hostname or ""):
        hint += " localhost in a container is the container itself"
    elif where.partition(" ")[2].startswith("https:"):
        hint += f" A registry on plain http needs --insecure-registry={host}"
    return ConnectionFaultError(f"{where}: {host} refuses the connection", hint=hint, tries=3)


_Explain = Callable[[str, str, BaseException], ConnectionFaultError]
_EXPLANATIONS: tuple[tuple[type[BaseException], _Explain], ...] = (
    (ssl.SSLCertVerificationError, _explain_certificate),
    (ssl.SSLError, _explain_tls),
    (socket.gaierror, _explain_unknown_host),
    (ConnectionRefusedError, _explain_refused),
)
