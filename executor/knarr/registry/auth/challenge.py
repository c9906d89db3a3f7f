"""Challenges of a WWW-Authenticate header (RFC 9110 section 11.6.1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PARAMETER = re.compile(r'[\s,]*([A-Za-z0-9_.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?=,|$)')
_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9_-]*)(?=[\s,]|$)")
_ESCAPE = re.compile(r"\\(.)")
_MAX_HEADER = 16 * 1024


@dataclass(frozen=True, slots=True)
class Challenge:
    """A scheme in lower case with its parameters, their names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Read all challenges in a header; what is not a challenge ends the reading."""
    text = header[:_MAX_HEADER]
    result: list[Challenge] = []
    parameters: dict[str, str] = {}
    position = 0
    while True:
        found = _PARAMETER.match(text, position) if result else None
        if found is not None:
            quoted = found[2]
            parameters.setdefault(
                found[1].lower(), found[3] if quoted is None else _ESCAPE.sub(r"\1", quoted)
            )
        else:
            found = _SCHEME.match(text, position)
            if found is None:
                return tuple(result)
            parameters = {}
            result.append(Challenge(found[1].lower(), parameters))
        position = found.end()


def choose_challenge(header: str) -> Challenge | None:
    """The challenge to answer: a bearer token's if there is one, else Basic."""
    known = {challenge.scheme: challenge for challenge in reversed(parse_challenges(header))}
    bearer = known.get("bearer")
    return bearer if bearer is not None and bearer.parameters.get("realm") else known.get("basic")
