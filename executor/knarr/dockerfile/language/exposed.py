"""Ports that EXPOSE names: `[ip:][host:]port[-port][/protocol]`.

The image config keeps container ports alone, one key a port, with the protocol in lower case. An address or a
host port is tolerated, as BuildKit does, but must be valid.
"""

import ipaddress
from collections.abc import Iterable, Iterator

from knarr.dockerfile.syntax.text import parse_unsigned
from knarr.errors import DockerfileError

_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
_MOST_PORTS = 1_000_000
"""A line of ranges can name billions of ports; nobody means that."""


def parse_ports(words: Iterable[str]) -> tuple[str, ...]:
    """`port/protocol` for every port named, in order, repeats kept; raises DockerfileError (no location)."""
    ports: list[str] = []
    for word in words:
        first, last, protocol = _parse_word(word)
        if len(ports) + last - first >= _MOST_PORTS:
            raise DockerfileError(f"EXPOSE names more than {_MOST_PORTS} ports")
        ports.extend(f"{port}/{protocol}" for port in range(first, last + 1))
    return tuple(ports)


def _parse_word(word: str) -> tuple[int, int, str]:
    address, host, container = _split(word)
    numbers, _, protocol = container.partition("/")
    protocol = protocol.lower() or "tcp"
    if not numbers:
        raise DockerfileError(f"no port specified: {word}<empty>")
    if protocol not in _PROTOCOLS:
        raise DockerfileError(f"invalid proto: {protocol}", hint="one of tcp, udp, sctp")
    if address:
        _check_address(address)
    first, last = _parse_range(numbers, what="container port", word=word)
    if host:
        host_first, host_last = _parse_range(host, what="host port", word=word)
        if last - first not in (0, host_last - host_first):
            raise DockerfileError(
                f"invalid ranges specified for container and host ports: {numbers} and {host}"
            )
    return first, last, protocol


def _split(word: str) -> tuple[str, str, str]:
    *front, container = word.rsplit(":", 2)
    parts: Iterator[str] = iter(reversed(front))
    host = next(parts, "")
    return next(parts, ""), host, container


def _check_address(address: str) -> None:
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        if "%" in bare:
            raise ValueError("zones are not addresses")
        ipaddress.ip_address(bare)
    except ValueError:
        raise DockerfileError(f"invalid IP address: {address}") from None


def _parse_range(text: str, *, what: str, word: str) -> tuple[int, int]:
    first_text, dash, last_text = text.partition("-")
    try:
        first = parse_unsigned(first_text, base=10, bits=16)
        last = parse_unsigned(last_text, base=10, bits=16) if dash else first
    except ValueError:
        raise DockerfileError(
            f"invalid {what} {text!r} in {word!r}",
            hint="ports are numbers from 0 to 65535, or a range such as 8000-8010",
        ) from None
    if last < first:
        raise DockerfileError(f"invalid range specified for {what}: {text}")
    return first, last
