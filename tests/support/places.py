"""Where the tests' own files lie."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"
DATA = TESTS / "data"
