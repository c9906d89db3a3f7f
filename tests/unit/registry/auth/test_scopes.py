"""Tokens ask for what the request in hand needs: the oracle is a token service that refuses anything more."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from knarr.errors import AuthError
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.registry.auth.credentials import CredentialStore
from knarr.registry.client import Client
from knarr.registry.transfer.pull import check_blob, open_blob
from knarr.registry.transfer.push import check_push
from knarr.registry.transfer.resolve import resolve
from support.registry_images import SmallImage, push_image
from support.token_service import ALL, READ, StrictRegistry

AMD64 = Platform.normalised("linux", "amd64")
BASE, BUILT = SmallImage.of(b"base"), SmallImage.of(b"base", b"built")
PASSWORDS = {"ci": "secret", "cache": "other"}


@pytest.fixture
def strict() -> Iterator[StrictRegistry]:
    """A public base, a group that `ci` may push to, a cache of another user's."""
    rights = {
        "": {"public/base": READ},
        "ci": {"team/group/": ALL},
        "cache": {"team/cache": ALL},
        "all": {"public/base": READ, "team/group/": ALL},
        "maker": {"public/base": ALL},
    }
    passwords = PASSWORDS | {"all": "1", "maker": "2"}
    with StrictRegistry(rights, passwords).started() as registry:
        with _client(registry, {registry.host: "maker:2"}) as client:
            push_image(client, Reference.parse(f"{registry.host}/public/base:1"), BASE)
        registry.token_requests.clear()
        registry.shown.clear()
        yield registry


def _client(registry: StrictRegistry, auths: dict[str, str]) -> Client:
    entries = {name: {"auth": base64.b64encode(pair.encode()).decode()} for name, pair in auths.items()}
    store = CredentialStore.parse(json.dumps({"auths": entries}).encode(), "config.json")
    return Client(credentials=store, sleep=lambda wait_s: None)


def _named(registry: StrictRegistry, name: str) -> Reference:
    return Reference.parse(f"{registry.host}/{name}")


def test_base_destination_and_cache_of_one_host(strict: StrictRegistry) -> None:
    auths = {
        f"{strict.host}/team/group": "ci:secret",
        f"{strict.host}/team/cache": "cache:other",
    }
    with _client(strict, auths) as client, client.for_cache(patient=True) as cache:
        check_push(client, _named(strict, "team/group/app:1"))
        found = resolve(client, _named(strict, "public/base:1"), AMD64)
        with open_blob(client, found.reference, BASE.manifest.layers[0]) as file:
            assert file.read() == b"base"
        push_image(cache, _named(strict, "team/cache:key"), BASE)
        check_blob(cache, _named(strict, "team/cache:key"), BASE.manifest.layers[0])
        push_image(client, _named(strict, "team/group/app:1"), BUILT)
        push_image(client, _named(strict, "team/group/deep/app:1"), BUILT)
        resolve(client, _named(strict, "team/group/app:1"), AMD64)
    assert strict.refused == []
    assert set(strict.token_requests) == {
        ("", ("repository:public/base:pull",)),
        ("ci", ("repository:team/group/app:pull",)),
        ("ci", ("repository:team/group/app:pull,push",)),
        ("ci", ("repository:team/group/deep/app:pull,push",)),
        ("cache", ("repository:team/cache:pull",)),
        ("cache", ("repository:team/cache:pull,push",)),
    }
    assert len(strict.token_requests) == 6  # each is kept, by clients that share what they know, too
    assert set(strict.shown) == {
        ("public/base", ""),
        ("team/group/app", "ci"),
        ("team/group/deep/app", "ci"),
        ("team/cache", "cache"),
    }


@pytest.mark.parametrize("takes_several", [True, False])
def test_a_mount_asks_for_both_and_nothing_after_it(strict: StrictRegistry, *, takes_several: bool) -> None:
    strict.takes_several = takes_several
    origins = {layer.digest: _named(strict, "public/base") for layer in BUILT.manifest.layers}
    strict.memory.blobs.clear()
    with _client(strict, {strict.host: "all:1"}) as client:
        push_image(client, _named(strict, "team/group/app:1"), BUILT, mount_from=origins)
    own = "repository:team/group/app:pull,push"
    both = (own, "repository:public/base:pull")
    assert sorted(set(strict.token_requests)) == [("all", (own,)), ("all", both)]
    assert len(strict.token_requests) == 2  # a refusal of both is not asked for again with each blob
    assert bool(strict.refused) is not takes_several
    assert set(strict.memory.blobs) == {str(digest) for digest in BUILT.blobs}


def test_a_credential_without_the_base_is_no_reason_to_fail(strict: StrictRegistry) -> None:
    origins = {BASE.manifest.layers[0].digest: _named(strict, "public/base")}
    strict.memory.blobs.clear()
    with _client(strict, {f"{strict.host}/team/group": "ci:secret"}) as client:
        push_image(client, _named(strict, "team/group/app:1"), BUILT, mount_from=origins)
    assert strict.refused == [("ci", ("repository:team/group/app:pull,push", "repository:public/base:pull"))]


def test_an_ended_token_is_asked_for_again_as_it_was(strict: StrictRegistry) -> None:
    with _client(strict, {f"{strict.host}/team/group": "ci:secret"}) as client:
        for _ in range(2):
            resolve(client, _named(strict, "public/base:1"), AMD64)
            check_push(client, _named(strict, "team/group/app:1"))
            strict.expire()
    pair = [("", ("repository:public/base:pull",)), ("ci", ("repository:team/group/app:pull,push",))]
    assert strict.token_requests == pair * 2
    assert strict.refused == []


def test_threads_share_tokens_of_their_repository(strict: StrictRegistry) -> None:
    with _client(strict, {f"{strict.host}/team/group": "ci:secret"}) as client:
        with ThreadPoolExecutor(8) as pool:
            names = ["public/base:1" if number % 2 else "team/group/app:1" for number in range(32)]
            push_image(client, _named(strict, "team/group/app:1"), BUILT)
            strict.expire()
            strict.token_requests.clear()
            list(pool.map(lambda name: resolve(client, _named(strict, name), AMD64), names))
    assert strict.refused == []
    assert sorted(strict.token_requests) == [
        ("", ("repository:public/base:pull",)),
        ("ci", ("repository:team/group/app:pull",)),
    ]


def test_a_refusal_says_whose_and_what_for(strict: StrictRegistry) -> None:
    with _client(strict, {strict.host: "ci:secret"}) as client, pytest.raises(AuthError) as caught:
        check_push(client, _named(strict, "team/elsewhere:1"))
    assert "the credentials of user ci from config.json were tried" in str(caught.value)
    assert "the token was to be for repository:team/elsewhere:pull,push" in str(caught.value)
    with _client(strict, {}) as client, pytest.raises(AuthError) as caught:
        check_push(client, _named(strict, "team/elsewhere:1"))
    assert "were tried" not in str(caught.value)
    assert f"no credentials for {strict.host}/team/elsewhere" in str(caught.value)
