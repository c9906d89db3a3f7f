"""The Tekton resources of the repository."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

TASKS = Path(__file__).parents[2] / "tasks/tekton"


def resources(pattern: str = "**/knarr-*") -> list[Path]:
    """Tasks, StepActions, Pipelines: the files that users refer to."""
    return sorted(
        path for path in TASKS.glob(f"{pattern}/*/knarr-*.yaml") if path.stem == path.parents[1].name
    )


def examples() -> list[Path]:
    """Samples with the tests of the catalog."""
    return sorted(path for name in ("samples", "tests") for path in TASKS.glob(f"**/{name}/*.yaml"))


def documents(path: Path) -> Iterator[dict[str, Any]]:
    """The documents of a file."""
    yield from yaml.safe_load_all(path.read_text())
