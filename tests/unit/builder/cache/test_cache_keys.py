"""Cache keys: what is in them, what is not."""

import io
import itertools
from dataclasses import replace

import pytest

from knarr.builder.cache.keys import base_key, chain_id, content_key, digest_parts, step_key
from knarr.layers.entry import Entry, Kind, LayerItem
from knarr.oci.digest import Digest

FILE = Entry(path="a", kind=Kind.FILE, mode=0o644, uid=1000, gid=1000, mtime_ns=5, size=1)


def _key(*entries: Entry, content: bytes = b"x", keeps_owner: bool = False) -> str:
    items = [LayerItem(entry, (lambda: io.BytesIO(content)) if entry.size else None) for entry in entries]
    return content_key(items, keeps_owner=keeps_owner)


def test_parts_are_framed() -> None:
    texts = ["", "a", "b", "ab", "\0", "a\0", "-", "a-b"]
    lists = [parts for count in range(4) for parts in itertools.product(texts, repeat=count)]
    assert len({digest_parts(parts) for parts in lists}) == len(lists)


def test_text_and_bytes_are_the_same() -> None:
    assert digest_parts(["ä"]) == digest_parts(["ä".encode()])


@pytest.mark.parametrize(
    "other",
    [
        replace(FILE, path="b"),
        replace(FILE, mode=0o755),
        replace(FILE, mode=0o4644),
        replace(FILE, kind=Kind.FIFO, size=0),
        replace(FILE, xattrs={"security.capability": b"1"}),
    ],
)
def test_what_a_file_is_changes_the_key(other: Entry) -> None:
    assert _key(other) != _key(FILE)


def test_content_changes_the_key() -> None:
    assert _key(FILE, content=b"y") != _key(FILE)
    link = Entry(path="a", kind=Kind.SYMLINK, mode=0o777, link_target="b")
    assert _key(link) != _key(replace(link, link_target="c"))


@pytest.mark.parametrize(
    "other", [replace(FILE, mtime_ns=9), replace(FILE, mode=0o664), replace(FILE, mode=0o600)]
)
def test_how_it_was_checked_out_does_not(other: Entry) -> None:
    assert _key(other) == _key(FILE)


@pytest.mark.parametrize("other", [replace(FILE, uid=7), replace(FILE, gid=7), replace(FILE, mode=0o600)])
def test_owners_and_modes_of_a_stage_count(other: Entry) -> None:
    assert _key(other, keeps_owner=True) != _key(FILE, keeps_owner=True)


def test_chains() -> None:
    one, two = Digest.of(b"1"), Digest.of(b"2")
    assert chain_id([one, two]) != chain_id([two, one])
    assert base_key([one], "linux/amd64") != base_key([one], "linux/arm64")
    assert step_key("a", ["b"]) != step_key("a", ["c"]) != step_key("b", ["c"])
