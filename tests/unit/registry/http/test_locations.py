import pytest

from knarr.errors import RegistryError
from knarr.registry.http.addresses import may_refer
from knarr.registry.http.locations import redacted, resolve_location, resolve_realm, shown, with_query

BASE = "https://registry.example.com:5000/v2/a/blobs/uploads/"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (
            "/v2/a/blobs/uploads/1?_state=x%2F%3D",
            "https://registry.example.com:5000/v2/a/blobs/uploads/1?_state=x%2F%3D",
        ),
        ("1", "https://registry.example.com:5000/v2/a/blobs/uploads/1"),
        ("https://registry.example.com:5000/up/1", "https://registry.example.com:5000/up/1"),
        ("http://registry.example.com:5000/up/1", "https://registry.example.com:5000/up/1"),
        ("http://registry.example.com/up/1", "https://registry.example.com:5000/up/1"),
        ("//registry.example.com:5000/up", "https://registry.example.com:5000/up"),
        ("https://storage.invalid/x?sig=1#fragment", "https://storage.invalid/x?sig=1"),
    ],
)
def test_good_locations(location: str, expected: str) -> None:
    assert resolve_location(BASE, location, registry_url=BASE) == expected


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "http://storage.example.net/x",
        "file:///etc/passwd",
        "ftp://registry.example.com/",
        "\\\\evil.example.net\\x",
        "https:\\\\evil.example.net/",
        "https://user:hunter2@registry.example.com/",
        "https://registry.example.com:99999/",
        "https://[::1/",
        "/a\r\nHost: evil",
        "/\u202e",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:169.254.169.254]/",
        "https://[fe80::1]/",
        "https://0.0.0.0/",
        "https://127.0.0.1:2375/",
        "https://[::1]/",
        "https://localhost/",
        "https://10.0.0.1/",
        "/" + "a" * 20_000,
    ],
)
def test_bad_locations(location: str | None) -> None:
    with pytest.raises(RegistryError) as caught:
        resolve_location(BASE, location, registry_url=BASE)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("registry", "realm", "is_good"),
    [
        ("https://a.invalid", "https://auth.a.invalid/token", True),
        ("https://a.invalid", "http://auth.a.invalid/token", False),
        ("https://a.invalid", "/token", False),
        ("https://a.invalid", "", False),
        ("https://a.invalid", "https://127.0.0.1/token", False),
        ("https://a.invalid", "gopher://a.invalid/", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", True),
        ("http://127.0.0.1:5000", "http://169.254.169.254/token", False),
        ("http://10.0.0.5:5000", "http://10.0.0.6/token", True),
    ],
)
def test_realms(registry: str, realm: str, *, is_good: bool) -> None:
    if is_good:
        assert resolve_realm(registry, realm) == realm
    else:
        with pytest.raises(RegistryError):
            resolve_realm(registry, realm)


def test_names_are_resolved_before_they_are_trusted() -> None:
    assert not may_refer("registry.invalid", "localhost")
    assert may_refer("127.0.0.1", "localhost")
    assert may_refer("localhost", "localhost")


def test_digest_is_added_behind_the_query() -> None:
    assert (
        with_query("https://a/u?_state=a%3D", "digest=sha256:1") == "https://a/u?_state=a%3D&digest=sha256:1"
    )
    assert with_query("https://a/u", "digest=sha256:1") == "https://a/u?digest=sha256:1"


def test_messages_carry_no_secrets_or_control_characters() -> None:
    assert redacted("https://user:pw@a.io/x?X-Amz-Signature=s") == "https://a.io/x?..."
    assert shown("a\x1b[31m\nb\x00") == "a\\x1b[31m\\nb\\x00"
    assert len(shown("x" * 1000)) == 303
