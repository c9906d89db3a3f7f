"""Which changes of RUN steps count."""

import pytest

from knarr.builder.request.snapshot_rules import SnapshotRules
from support.trees import items_of, show_items


@pytest.mark.parametrize(
    ("ignored", "kept"),
    [
        ((), ["d a", "f a/b =1", "f ab =2", "f a/.wh.c =", "f .wh.a =", "f a/.wh..wh..opq ="]),
        (("/a",), ["f ab =2"]),
        (("a/",), ["f ab =2"]),
        (("/x/../a",), ["f ab =2"]),
        (("/a/b",), ["d a", "f ab =2", "f a/.wh.c =", "f .wh.a =", "f a/.wh..wh..opq ="]),
        (("/a/c", "/ab"), ["d a", "f a/b =1", "f .wh.a =", "f a/.wh..wh..opq ="]),
        (("/", ""), ["d a", "f a/b =1", "f ab =2", "f a/.wh.c =", "f .wh.a =", "f a/.wh..wh..opq ="]),
    ],
)
def test_keep(ignored: tuple[str, ...], kept: list[str]) -> None:
    items = items_of(["d a", "f a/b =1", "f ab =2", "f a/.wh.c =", "f .wh.a =", "f a/.wh..wh..opq ="])
    rules = SnapshotRules.of(ignored, hash_content=False)
    assert show_items(rules.keep(items)) == kept
