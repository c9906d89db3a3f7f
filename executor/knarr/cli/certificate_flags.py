"""Certificate files that flags name, tried before the work begins."""

import ssl
from pathlib import Path

from knarr.errors import UsageError
from knarr.registry.http.hosts import ClientCertificate


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
