"""A registry behind a proxy that counts what is asked of it, and can get in the way."""

import dataclasses
import http.client
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry import Registry

Interfere = Callable[[Asked], Answer | None]
_NOT_FORWARDED = frozenset({"connection", "transfer-encoding", "content-length"})


@dataclass(frozen=True)
class Exchange:
    """A request with the answer that it got; without their bodies."""

    method: str
    path: str
    status: int | None
    answer_bytes: int
    is_json: bool


class CountingRegistry:
    """Passes everything on to a registry, but for what `interfere` answers itself."""

    def __init__(self, registry: Registry) -> None:
        self.exchanges: list[Exchange] = []
        self.interfere: Interfere = lambda _: None
        self.behind = registry.host
        self._proxy = FaultyRegistry(self._answer)
        self.registry = dataclasses.replace(registry, host=self._proxy.host)

    def __enter__(self) -> "CountingRegistry":
        self._proxy.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._proxy.__exit__(kind, error, traceback)

    def forget(self) -> None:
        """Count from here."""
        self.exchanges.clear()

    @property
    def layers_pulled(self) -> list[Exchange]:
        """Blobs read that are no configs."""
        return [each for each in self.exchanges if _is_blob_read(each) and not each.is_json]

    @property
    def uploads(self) -> list[str]:
        """Blobs sent, by what they were sent to."""
        return [each.path for each in self.exchanges if each.method == "PUT" and "/blobs/" in each.path]

    def count(self, method: str, part: str) -> int:
        """How many requests of a method have this in their path."""
        return sum(each.method == method and part in each.path for each in self.exchanges)

    def _answer(self, asked: Asked) -> Answer:
        answer = self.interfere(asked) or self._forward(asked)
        is_json = answer.body[:1] == b"{"
        self.exchanges.append(Exchange(asked.method, asked.path, answer.status, len(answer.body), is_json))
        return answer

    def _forward(self, asked: Asked) -> Answer:
        connection = http.client.HTTPConnection(self.behind, timeout=60)
        try:
            headers = {name: value for name, value in asked.headers.items() if name not in _NOT_FORWARDED}
            connection.request(asked.method, asked.path, body=asked.body or None, headers=headers)
            reply = connection.getresponse()
            body = reply.read()
            kept = {name: value for name, value in reply.getheaders() if name.lower() not in _NOT_FORWARDED}
            length = reply.getheader("content-length")
            if asked.method == "HEAD" and length is not None:
                kept["Content-Length"] = length
            return Answer(reply.status, body, kept)
        finally:
            connection.close()


def _is_blob_read(exchange: Exchange) -> bool:
    return exchange.method == "GET" and "/blobs/" in exchange.path and exchange.status in (200, 206)
