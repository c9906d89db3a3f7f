"""Outcomes of another builder, kept in files between runs."""

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.flatten import FlatImage


@dataclass(frozen=True, slots=True)
class Outcome:
    """A build's image, or what the builder said when it refused."""

    image: FlatImage | None
    error: str = ""


def kept_outcome(path: Path, build: Callable[[], Outcome]) -> Outcome:
    """The outcome in a file; built and written there, whole or not at all, where that is missing."""
    if not path.exists():
        outcome = build()
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"error": outcome.error, "image": outcome.image and outcome.image.to_json()})
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(gzip.compress(content.encode(), 1))
        partial.rename(path)
    known = json.loads(gzip.decompress(path.read_bytes()))
    return Outcome(FlatImage.from_json(known["image"]) if known["image"] else None, known["error"])
