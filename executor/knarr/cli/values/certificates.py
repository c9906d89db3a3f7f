"""Reads the certificates that the environment or flags name beside the system's own.

OpenSSL looks in SSL_CERT_DIR for names made of hashes only; kaniko's users put a file of any name there. The
files that flags name are tried before the work begins.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

from knarr.errors import UsageError
from knarr.registry.http.hosts import ClientCertificate

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


def read_ca(text: str, flag: str) -> Path:
    """The path of a file with certificates of authorities; UsageError where it holds none."""
    path = _existing(text, flag)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{flag}: {path} holds no certificate: {_reason(error)}",
            hint="a PEM file is needed: -----BEGIN CERTIFICATE-----",
        ) from error
    return path


def read_client_certificate(text: str, flag: str) -> ClientCertificate:
    """The files of `CERTIFICATE,KEY`; UsageError where they are none, or don't belong together."""
    certificate, comma, key = text.partition(",")
    if not comma or not certificate or not key:
        raise UsageError(f"{flag} takes HOST=CERTIFICATE,KEY, got {text!r}")
    pair = ClientCertificate(_existing(certificate, flag), _existing(key, flag))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
            pair.certificate, pair.key, password=lambda: b""
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{flag}: {pair.certificate} and {pair.key} are not a certificate with its key: {_reason(error)}",
            hint="both are PEM files; the key must not be encrypted",
        ) from error
    return pair


def _existing(text: str, flag: str) -> Path:
    path = Path(text).absolute()
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise UsageError(f"{flag}: can't read {path}: {error.strerror}") from error


def _reason(error: OSError | ValueError) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
