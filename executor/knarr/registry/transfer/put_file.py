"""Uploads of small texts to URLs that take them by PUT, such as presigned ones of an object store."""

import io

from knarr.errors import CorruptError, OutputError, RegistryError
from knarr.registry.client import Client
from knarr.registry.http.hosts import Endpoint
from knarr.registry.http.locations import redacted
from knarr.registry.http.message import Body, Request

_STORED = frozenset({200, 201, 202, 204})


def put_file(client: Client, url: str, data: bytes, *, media_type: str) -> None:
    """PUT a text, again where that fails in passing; no credentials but the URL's own, no redirects.

    Raises OutputError. Messages have no part of the URL that may be a signature.
    """
    request = Request(
        "PUT",
        Endpoint.of_url(url),
        url,
        f"write to {redacted(url)}",
        headers={"Content-Type": media_type},
        body=Body(lambda: io.BytesIO(data), len(data)),
        accepted=_STORED,
        is_authorised=False,
        stores=True,
    )
    try:
        with client.for_downloads() as plain:
            plain.fetch(request)
    except (RegistryError, CorruptError) as error:
        raise OutputError(error.message, hint=error.hint) from error
