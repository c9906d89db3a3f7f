"""The nearest of some names."""

import pytest

from knarr.dockerfile.syntax.suggest import nearest


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("PAHT", ["HOME", "PATH"], "PATH"),
        ("MYARCH", ["MY_ARCH"], "MY_ARCH"),
        ("DIR_ASSET", ["DIR_ASSETS", "DIR_CONFIG"], "DIR_ASSETS"),
        ("foo", ["PATH"], None),
        ("path", ["PATH"], None),
        ("ab", ["abxx", "abx"], "abx"),
        ("ab", ["xb", "ax"], "xb"),
        ("ab", ["ax", "ab"], None),
        ("", ["ab", "abc"], "ab"),
        ("a", [], None),
    ],
)
def test_nearest(name: str, known: list[str], expected: str | None) -> None:
    assert nearest(name, known) == expected
