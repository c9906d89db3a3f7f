"""Content digests (image-spec descriptor.md, "Digests")."""

import hashlib
import re
from dataclasses import dataclass

from knarr.errors import CorruptError

_ENCODED = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """An algorithm with its hex value, of the two algorithms that the spec registers.

    Both parts of a parsed digest are safe as path components.
    """

    algorithm: str
    encoded: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read `algorithm:hex`; CorruptError for anything else, an unknown algorithm included."""
        algorithm, _, encoded = text.partition(":")
        pattern = _ENCODED.get(algorithm)
        if pattern is None or not pattern.fullmatch(encoded):
            raise CorruptError(f"not a content digest: {text[:200]!r}")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> "Digest":
        """The digest of data."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"
