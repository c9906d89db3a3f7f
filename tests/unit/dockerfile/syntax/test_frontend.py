"""Which file asks for another frontend than Docker's."""

import json

import pytest

from knarr.dockerfile.syntax.frontend import frontend_warning
from support.places import DATA

CASES: list[tuple[str, dict[str, str], str | None]] = json.loads(
    (DATA / "dockerfile" / "frontends.json").read_text()
)


@pytest.mark.parametrize(("text", "build_args", "image"), CASES)
def test_frontends(text: str, build_args: dict[str, str], image: str | None) -> None:
    said = image and f"the file is read as a Dockerfile, not by the frontend {image}"
    assert frontend_warning(text, build_args) == said


def test_escape_sequences_are_not_shown() -> None:
    said = frontend_warning(f"# syntax=x\x1b[2J{'y' * 1000}\n", {})
    assert said is not None
    assert "\x1b" not in said
    assert len(said) < 300
