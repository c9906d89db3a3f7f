"""Manifests into a registry, under their tags (distribution-spec, "Pushing manifests")."""

import io
import re
from contextlib import suppress
from dataclasses import replace

from knarr.errors import CorruptError, RegistryError
from knarr.oci.digest import Digest
from knarr.oci.reference import Reference
from knarr.progress import Note, Pushed
from knarr.registry.client import Client
from knarr.registry.http.failures import NoAnswerError, refusal
from knarr.registry.http.message import Body, Reply, Request, push_scope
from knarr.registry.transfer.manifests import look_up_digest
from knarr.registry.transfer.upload import session_url, start_request

_ANY_ANSWER = frozenset(range(200, 600))
_TAKEN = frozenset({200, 201, 202, 204})
_IMMUTABLE = frozenset({400, 403, 405, 409, 412})
_ABOUT_CONTENT = (
    "DIGEST_INVALID",
    "MANIFEST_INVALID",
    "MANIFEST_UNVERIFIED",
    "NAME_INVALID",
    "SIZE_INVALID",
)
_ABOUT_TAG = re.compile("immutab|overwr|protected|already exist", re.IGNORECASE)
_BLOB_UNKNOWN = ("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN")


class BlobUnknownError(RegistryError):
    """The registry took no manifest because it lacks a blob that it said it has."""


def put_manifest(
    client: Client, destination: Reference, data: bytes, media_type: str, *, announced: bool = True
) -> Digest:
    """Store a manifest or index under the destination's tag, else its digest; this makes an image visible.

    A tag that can't be moved and is this very image already is a success; so is one that is another image,
    where the rules say to leave those: that is told by a warning. Raises BlobUnknownError where
    the registry misses blobs, RegistryError for any other refusal. An image that is `announced` is told.
    """
    endpoint = client.rules.push_endpoint(destination.registry)
    repository = endpoint.repository(destination.repository)
    digest = Digest.of(data)
    if destination.digest not in (None, digest):
        raise RegistryError(f"can't push {destination}: the manifest's digest is {digest}")
    selector = destination.tag or (str(digest) if destination.digest else "latest")
    request = Request(
        "PUT",
        endpoint,
        endpoint.url(repository, f"manifests/{selector}"),
        f"push {destination}",
        repository,
        (push_scope(repository),),
        {"Content-Type": media_type},
        Body(lambda: io.BytesIO(data), len(data)),
        accepted=_ANY_ANSWER,
        stores=True,
    )
    try:
        reply = client.fetch(request)
    except NoAnswerError:
        if look_up_digest(client, endpoint, destination) != digest:
            raise
        client.reporter.report(Note(f"{destination} is there; only the answer was lost"))
        return _told(client, destination, digest, announced=announced)
    if reply.status in _TAKEN:
        _verify(destination, digest, reply)
    elif reply.says(*_BLOB_UNKNOWN):
        refused = client.refusal(request, reply)
        raise BlobUnknownError(refused.message, hint="a blob vanished from the registry; push again")
    elif not _is_settled(client, destination, digest, reply):
        raise client.refusal(request, reply)
    else:
        return digest
    return _told(client, destination, digest, announced=announced)


def _told(client: Client, destination: Reference, digest: Digest, *, announced: bool) -> Digest:
    if announced:
        client.reporter.report(Pushed(str(destination), str(digest)))
    return digest


def check_push(client: Client, destination: Reference) -> None:
    """Find out before the work whether the destination can be pushed to; leaves nothing there.

    Raises AuthError or RegistryError that say what is missing.
    """
    endpoint = client.rules.push_endpoint(destination.registry)
    repository = endpoint.repository(destination.repository)
    request = start_request(endpoint, repository, f"push to {destination.name}")
    reply = client.fetch(request)
    session = session_url(endpoint, reply)
    end = replace(
        request,
        method="DELETE",
        url=session,
        doing=f"end the trial upload to {destination.name}",
        accepted=_ANY_ANSWER,
        tries=1,
        is_authorised=endpoint.owns(session),
    )
    with suppress(RegistryError, CorruptError):
        # Registries forget the upload by themselves; whether this one does it now says nothing about pushing.
        client.fetch(end)


def _is_settled(client: Client, destination: Reference, digest: Digest, reply: Reply) -> bool:
    """Whether a refused tag is one that stays as it is, which is reported."""
    if reply.status not in _IMMUTABLE:
        return False
    there = look_up_digest(client, client.rules.push_endpoint(destination.registry), destination)
    if there == digest:
        client.reporter.report(Pushed(str(destination), str(digest)))
        return True
    if there is None or not client.rules.leave_immutable_tags or not _is_about_tag(reply):
        return False
    text = f"{destination} can't be moved and is left as it is, at {there}; {digest} has no tag there"
    client.reporter.report(Note(text, "warning"))
    return True


def _is_about_tag(reply: Reply) -> bool:
    """Whether a refused manifest is one that only its tag stands in the way of, as far as registries tell."""
    if reply.status == 403:  # the one that missing rights have, too
        return any(_ABOUT_TAG.search(problem.message) for problem in reply.problems)
    return not reply.says(*_ABOUT_CONTENT)


def _verify(destination: Reference, digest: Digest, reply: Reply) -> None:
    stated = reply.headers.get("docker-content-digest")
    if stated and stated != str(digest):
        raise refusal(reply, f"push {destination}: stored as {stated[:100]!r} instead of {digest}")
