"""Finds the certificates that the environment names beside the system's own.

OpenSSL looks in SSL_CERT_DIR for names made of hashes only; kaniko's users put a file of any name there.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_MAX_FILE_BYTES = 4 * 1024 * 1024
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def find_certificates(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The PEM certificates in every file of the directories in SSL_CERT_DIR, each once.

    Files that can't be read, that hold none, or that are larger than 4 MiB are passed over, as kaniko does.
    """
    found: dict[str, None] = {}
    for path in _files(environment.get("SSL_CERT_DIR", "")):
        for certificate in _CERTIFICATE.findall(_text(path)):
            found[certificate] = None
    return tuple(found)


def _files(directories: str) -> Iterator[Path]:
    for name in filter(None, directories.split(":")):
        try:
            yield from sorted(path for path in Path(name).iterdir() if path.is_file())
        except OSError:
            continue


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError:
        return ""
    return data.decode("latin-1") if len(data) <= _MAX_FILE_BYTES else ""
