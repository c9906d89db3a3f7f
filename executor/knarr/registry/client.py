"""The client that all conversations with registries go through."""

import dataclasses
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar
from urllib.parse import urlsplit

from knarr.errors import RegistryError
from knarr.oci.manifest import MAX_MANIFEST_BYTES
from knarr.progress import Note, Reporter, Silent
from knarr.registry.auth.authorizer import Authorizer, Memory
from knarr.registry.auth.credentials import CredentialStore
from knarr.registry.http.failures import ConnectionFaultError, NoAnswerError, refusal
from knarr.registry.http.hosts import Endpoint, HostRules, Plain
from knarr.registry.http.locations import resolve_location, same_origin, shown
from knarr.registry.http.message import NOTHING, Reply, Request, Shown
from knarr.registry.http.proxies import Proxies
from knarr.registry.http.retry import TRANSIENT_STATUSES, Backoff, HostGate, RetryPolicy, parse_retry_after
from knarr.registry.http.schemes import Probe, Schemes
from knarr.registry.http.transport import Response, Timeouts, Transport
from knarr.version import __version__

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_MAX_ERROR_BYTES = 64 * 1024
_MAX_TOKEN_BYTES = 64 * 1024
_BLOB_PATH = re.compile(r"/blobs/[a-z0-9+._-]+:[0-9a-f]+$")
_DRAINED_BYTES = 4 * 1024
_HASTY_POLICY = RetryPolicy(tries=2, budget_s=4.0)
_HASTY_TIMEOUTS = Timeouts(connect_s=3.0, progress_s=4.0, answer_s=4.0)
_MAX_PATIENCE = 4

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Known:
    """What clients of one process have found out about registries; those of the same credentials share it."""

    memory: Memory = field(default_factory=Memory)
    schemes: Schemes = field(default_factory=Schemes)


class Client:
    """Talks to any number of registries; one for a process, safe to use from several threads.

    Answers challenges, follows redirects of reads, repeats what failed in passing. The caller closes it.
    """

    def __init__(
        self,
        *,
        rules: HostRules | None = None,
        credentials: CredentialStore | None = None,
        proxies: Proxies | None = None,
        policy: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        reporter: Reporter | None = None,
        user_agent: str = f"knarr/{__version__}",
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        known: Known | None = None,
    ) -> None:
        self.rules = rules or HostRules()
        self.reporter: Reporter = reporter or Silent()
        self.policy = policy or RetryPolicy()
        self.clock = clock
        self.sleep = sleep
        self._wall_clock = wall_clock
        self._proxies = proxies or Proxies()
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._gate = HostGate(clock, sleep)
        self._timeouts = timeouts or Timeouts()
        self._transport = Transport(
            timeouts=self._timeouts,
            system_ca_file=self.rules.system_ca_file,
            added_certificates=self.rules.added_certificates,
            clock=clock,
            on_silence=self._show_silence,
        )
        self._probe = Probe(self._transport, self.rules, self._proxies, self._headers)
        self._credentials = credentials or CredentialStore()
        self._known = known or Known()
        self._authorizer = Authorizer(
            self._credentials,
            fetch=self._fetch_token,
            clock=clock,
            reporter=self.reporter,
            memory=self._known.memory,
        )
        self.unreachable_mirrors: set[Endpoint] = set()
        """Those that gave no answer in this process."""
        self._warned: set[str] = set()
        self._silent: set[str] = set()
        self._warned_lock = threading.Lock()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def prepare(self) -> None:
        """Read now what connections need from files, which may change or go. Raises RegistryError.

        Credential helpers are not run any more: a step may change them, too. What they said stays known.
        """
        self._transport.prepare(self.rules.host_settings())
        self._authorizer.seal()

    def for_downloads(self) -> "Client":
        """One for hosts that are no registries: no credentials, and certificates are checked whatever was
        said of registries. The caller closes it.
        """
        rules = HostRules(
            system_ca_file=self.rules.system_ca_file, added_certificates=self.rules.added_certificates
        )
        return self._alike(rules, None, self.policy, self._timeouts, Known())

    def for_cache(self, *, patient: bool) -> "Client":
        """One for a repository that the build can do without: read where it is written, no mirrors.

        Without `patient` it is for questions whose answer is worth no long wait. The caller closes it.
        """
        policy, timeouts = (self.policy, self._timeouts) if patient else (_HASTY_POLICY, _HASTY_TIMEOUTS)
        return self._alike(self.rules.for_cache(), self._credentials, policy, timeouts, self._known)

    def _alike(
        self,
        rules: HostRules,
        credentials: CredentialStore | None,
        policy: RetryPolicy,
        timeouts: Timeouts,
        known: Known,
    ) -> "Client":
        client = Client(
            rules=rules,
            credentials=credentials,
            proxies=self._proxies,
            policy=policy,
            timeouts=timeouts,
            reporter=self.reporter,
            sleep=self.sleep,
            clock=self.clock,
            wall_clock=self._wall_clock,
            known=known,
        )
        client._transport.trusted = self._transport.trusted
        return client

    def find_credentials(self, registry: str, repository: str) -> None:
        """Look credentials up now, those of a helper program with them; the registry is not asked."""
        self._authorizer.find(registry, repository)

    def fetch(self, request: Request, *, limit_bytes: int = MAX_MANIFEST_BYTES) -> Reply:
        """Send a request, read its answer whole. Raises RegistryError; CorruptError beyond the limit."""
        return self._repeat(request, lambda response: self._read(request, response, limit_bytes))

    def open(self, request: Request) -> Response:
        """Send a request, return its accepted answer with the body unread; the caller closes it."""
        return self._repeat(request, lambda response: self._opened(request, response))

    def refusal(self, request: Request, reply: Reply) -> RegistryError:
        """The error for an answer that the caller accepted to look at, but can't use."""
        return refusal(reply, request.doing, tried=self._tried(request, reply))

    def _repeat(self, request: Request, use: Callable[[Response], _T]) -> _T:
        backoff = Backoff(self.policy, tries=request.tries)
        host = urlsplit(request.url).netloc
        while True:
            self._gate.wait(host)
            try:
                response = self._exchange(request)
                if not _is_transient(response):
                    return self._used(response, use)
                asked_s = parse_retry_after(response.headers.get("retry-after"), now_s=self._wall_clock())
                wait_s = backoff.next_wait(asked_s)
                if wait_s is None:
                    return self._used(response, use)
                _drop(response)
                if asked_s:
                    self._gate.close(host, wait_s)
                    continue
            except ConnectionFaultError as fault:
                # A cache that has to fetch first what it is asked for is nearer to it with each try.
                request = dataclasses.replace(request, patience=min(request.patience * 2, _MAX_PATIENCE))
                may_heal = fault.is_transient
                wait_s = backoff.next_wait(at_most_tries=fault.tries) if may_heal else None
                if wait_s is None:
                    # Not a ConnectionFaultError any more: what asked for this must not try it all over again.
                    message = f"can't {request.doing}: {fault.message}"
                    raise NoAnswerError(message, hint=fault.hint, is_transient=may_heal) from fault
            self.sleep(wait_s)

    def _used(self, response: Response, use: Callable[[Response], _T]) -> _T:
        try:
            self._show_warning(response)
            return use(response)
        except BaseException:
            response.close()
            raise

    def _read(self, request: Request, response: Response, limit_bytes: int) -> Reply:
        if response.status in request.accepted:
            is_wanted = response.status < 400 and not request.stores and request.method != "DELETE"
            data = (
                response.read(limit_bytes, what="the answer")
                if is_wanted
                else response.read_what_comes(_MAX_ERROR_BYTES)
            )
            response.close()
            return _reply(response, data)
        raise self._refused(request, response)

    def _opened(self, request: Request, response: Response) -> Response:
        if response.status in request.accepted:
            return response
        raise self._refused(request, response)

    def _refused(self, request: Request, response: Response) -> RegistryError:
        return self.refusal(request, _reply(response, response.read_what_comes(_MAX_ERROR_BYTES)))

    def _tried(self, request: Request, reply: Reply) -> str:
        if not request.repository:
            return ""
        if not request.endpoint.owns(reply.url):
            where = urlsplit(reply.url).netloc.rpartition("@")[2]
            return f"no credentials went to {shown(where)}, where {request.endpoint.registry} sent us"
        spoken = request.endpoint.at(urlsplit(reply.url).scheme)
        return self._authorizer.tried(dataclasses.replace(request, endpoint=spoken), reply.shown)

    def _fetch_token(self, request: Request) -> Reply:
        statuses = frozenset({200, 400, 401, 403, 404})
        asked = dataclasses.replace(request, url=self._secured(request), accepted=statuses)
        return self.fetch(asked, limit_bytes=_MAX_TOKEN_BYTES)

    def _secured(self, request: Request) -> str:
        """The URL of a token service by https, where it speaks that, too."""
        parts = urlsplit(request.url)
        if parts.scheme == "https" or request.endpoint.owns(request.url):
            return request.url
        service = dataclasses.replace(Endpoint.of_url(request.url), plain=Plain.ASKED)
        scheme = self._known.schemes.find(service, self._probe, is_registry=False)
        return service.at(scheme).moved(request.url)

    def _exchange(self, request: Request) -> Response:
        """One try: by the scheme that the registry speaks, with credentials, through redirects."""
        request = self._at_its_scheme(request)
        response = self._authorised(request)
        hops = 0
        may_follow = request.method in ("GET", "HEAD") and request.is_authorised
        while response.status in _REDIRECTS and may_follow:
            _drop(response)
            hops += 1
            if hops > _MAX_REDIRECTS:
                raise RegistryError(f"can't {request.doing}: more than {_MAX_REDIRECTS} redirects")
            target = self._target(request, response)
            if same_origin(target, request.url):
                response = self._authorised(dataclasses.replace(request, url=target))
            else:
                response = self._send(request, target)
                response.is_foreign = True
        return response

    def _target(self, request: Request, response: Response) -> str:
        location = response.headers.get("location")
        if not _BLOB_PATH.search(urlsplit(request.url).path):
            return resolve_location(response.url, location, registry_url=request.url)
        return resolve_location(
            response.url,
            location,
            registry_url=request.url,
            may_be_plain=request.endpoint.plain in (Plain.ASKED, Plain.LOCAL),
            is_allowed=self.rules.may_redirect,
        )

    def _at_its_scheme(self, request: Request) -> Request:
        endpoint = request.endpoint
        if endpoint.plain is Plain.NEVER or not endpoint.owns(request.url):
            return request
        found = endpoint.at(self._known.schemes.find(endpoint, self._probe))
        return dataclasses.replace(request, endpoint=found, url=found.moved(request.url))

    def _settle(self, endpoint: Endpoint, response: Response) -> None:
        """Plain http that was answered is what the host speaks, from here on."""
        location = response.headers.get("location", "")
        is_led_away = response.status in _REDIRECTS and location.startswith("https:")
        if is_led_away and endpoint.base_url.startswith("http:") and endpoint.owns(location):
            response.close()
            raise ConnectionFaultError(f"{endpoint.base_url} leads to https, which does not answer")
        if response.status == 400 or not self._known.schemes.settle(endpoint):
            return  # 400 is what a TLS port says to plain http
        if endpoint.plain is Plain.TOLERATED and endpoint.base_url.startswith("http:"):
            host = endpoint.registry
            text = f"{host} speaks plain http: anybody on the way can change what comes from there"
            self.reporter.report(Note(f"{text}; say --insecure-registry={host} if that is meant", "warning"))

    def _authorised(self, request: Request) -> Response:
        if not request.is_authorised:
            return self._send(request, request.url)
        sent = self._authorizer.header(request)
        answers = 0
        while True:
            response = self._send(request, request.url, sent)
            if response.status not in (401, 403):
                return response
            asked = response.headers.get("www-authenticate", "")
            other = self._authorizer.answer(request, response.status, asked, sent, answers=answers)
            if other is None:
                return response
            _drop(response)
            sent, answers = other, answers + 1

    def _send(self, request: Request, url: str, sent: Shown = NOTHING) -> Response:
        headers = {"Authorization": sent.header} if sent.header else {}
        response = self._transport.send(
            request.method,
            url,
            headers={**self._headers, **request.headers, **headers},
            body=request.body,
            tls=self.rules.tls(urlsplit(url).netloc, verify=request.endpoint.verify),
            proxy=self._proxies.for_url(url),
            stores=request.stores,
            patience=request.patience,
        )
        response.shown = sent
        if request.endpoint.plain is not Plain.NEVER and request.endpoint.owns(url):
            self._settle(request.endpoint, response)
        return response

    def _show_silence(self, host: str) -> None:
        """Say that a registry takes its time, once for each: what is silent looks as if it hung."""
        with self._warned_lock:
            is_new = host not in self._silent
            self._silent.add(host)
        if is_new:
            self.reporter.report(Note(f"{host} has not answered yet; waiting"))

    def _show_warning(self, response: Response) -> None:
        text = response.headers.get("warning", "")
        with self._warned_lock:
            is_new = text.startswith("299 ") and text not in self._warned and len(self._warned) < 20
            self._warned.add(text)
        if is_new:
            said = shown(text.removeprefix("299 ").lstrip("- ").strip('"'))
            self.reporter.report(Note(f"{urlsplit(response.url).netloc} warns: {said}", "warning"))


def _is_transient(response: Response) -> bool:
    # A storage host that a redirect led to refuses signatures that are too old; the registry gives new ones.
    return response.status in TRANSIENT_STATUSES or (
        response.is_foreign and response.status in (400, 401, 403)
    )


def _drop(response: Response) -> None:
    """Read a little, so that the connection can be used again where that was all."""
    try:
        response.read_some(_DRAINED_BYTES)
    except ConnectionFaultError:
        pass
    response.close()


def _reply(response: Response, body: bytes) -> Reply:
    return Reply(response.method, response.url, response.status, response.headers, body, shown=response.shown)
