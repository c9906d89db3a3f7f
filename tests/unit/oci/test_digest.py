import hashlib

import pytest

from knarr.errors import CorruptError
from knarr.oci.digest import Digest


def test_round_trip() -> None:
    digest = Digest.of(b"cargo")
    assert str(digest) == "sha256:" + hashlib.sha256(b"cargo").hexdigest()
    assert Digest.parse(str(digest)) == digest
    assert str(Digest.of(b"cargo", "sha512")) == "sha512:" + hashlib.sha512(b"cargo").hexdigest()
    assert Digest.parse(str(Digest.of(b"", "sha512"))) == Digest.of(b"", "sha512")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "a" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "a" * 64 + "\n",
        "SHA256:" + "a" * 64,
        "md5:" + "a" * 32,
        "sha512:" + "a" * 64,
        "sha256:../" + "a" * 61,
        "../sha256:" + "a" * 64,
        "sha256:" + "а" * 64,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(CorruptError, match="not a content digest"):
        Digest.parse(text)
