import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.errors import UsageError
from knarr.oci.digest import Digest
from knarr.oci.reference import Reference, normalise_registry

D = str(Digest.of(b""))


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("debian", "docker.io", "library/debian", None, None),
        ("debian:12", "docker.io", "library/debian", "12", None),
        ("team/app", "docker.io", "team/app", None, None),
        ("docker.io/debian", "docker.io", "library/debian", None, None),
        ("index.docker.io/debian", "docker.io", "library/debian", None, None),
        ("docker.io/team/app:1", "docker.io", "team/app", "1", None),
        ("ghcr.io/team/app", "ghcr.io", "team/app", None, None),
        ("ghcr.io/app", "ghcr.io", "app", None, None),
        ("GHCR.io/app", "ghcr.io", "app", None, None),
        ("localhost/app", "localhost", "app", None, None),
        ("localhost:5000/app:x", "localhost:5000", "app", "x", None),
        ("registry:5000/a/b/c", "registry:5000", "a/b/c", None, None),
        ("[::1]:5000/app", "[::1]:5000", "app", None, None),
        (f"debian@{D}", "docker.io", "library/debian", None, D),
        (f"debian:12@{D}", "docker.io", "library/debian", "12", D),
        ("a/b__c-d.e---f:T_a-g.1", "docker.io", "a/b__c-d.e---f", "T_a-g.1", None),
        (" debian ", "docker.io", "library/debian", None, None),
    ],
)
def test_parse(text: str, registry: str, repository: str, tag: str | None, digest: str | None) -> None:
    reference = Reference.parse(text)
    assert (reference.registry, reference.repository, reference.tag) == (registry, repository, tag)
    assert (str(reference.digest) if reference.digest else None) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "@",
        "debian:",
        "debian@",
        "debian@sha256:1",
        "Debian",
        "a//b",
        "/a",
        "a/",
        "ghcr.io/",
        "ghcr.io/../x",
        "a/../b",
        "https://ghcr.io/a",
        "a b",
        "a:t/b:x y",
        "debian:" + "a" * 129,
        "debian:.a",
        "debian:-a",
        "a/" + "b" * 260,
        "user@host/a",
        "ghcr.io:99999999/a",
        "_a/b",
        "a_-b",
        "debian:tàg",
        "evil.com\\@ghcr.io/a",
        "ghcr.io#x/a",
        "ghcr.io?x/a",
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(UsageError, match="not an image reference"):
        Reference.parse(text)


def test_selector_and_default_tag() -> None:
    plain = Reference.parse("ghcr.io/a/b")
    assert (plain.selector, str(plain)) == ("latest", "ghcr.io/a/b")
    assert str(plain.with_default_tag()) == "ghcr.io/a/b:latest"
    pinned = Reference.parse(f"ghcr.io/a/b:1@{D}")
    assert pinned.selector == D
    assert pinned.with_default_tag() == pinned
    assert str(pinned.with_digest(Digest.of(b"x"))) == f"ghcr.io/a/b@{Digest.of(b'x')}"
    assert pinned.name == "ghcr.io/a/b"


def test_names_of_docker_hub() -> None:
    names = ("docker.io", "index.docker.io", "registry-1.docker.io", "Docker.IO")
    assert {normalise_registry(name) for name in names} == {"docker.io"}
    assert normalise_registry("docker.io.evil.net") == "docker.io.evil.net"


@given(st.text(alphabet="abAB01./:@_-[] \n\\", max_size=40))
def test_what_is_parsed_is_written_the_same(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except UsageError:
        return
    assert Reference.parse(str(reference)) == reference
