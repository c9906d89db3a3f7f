"""Which git program fetches repositories."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GitProgram:
    """Which git to run; `path` is None where there is none."""

    path: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What it gets of the environment: PATH, proxies, the agent of ssh; nothing else gets through."""
