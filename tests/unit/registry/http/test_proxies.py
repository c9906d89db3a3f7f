import base64

import pytest

from knarr.errors import UsageError
from knarr.registry.client import Client
from knarr.registry.http.hosts import HostRules
from knarr.registry.http.message import Request
from knarr.registry.http.proxies import Proxies
from support.faulty_registry import Answer, FaultyRegistry

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("exceptions", "url", "is_direct"),
    [
        ("", "https://a.io/v2/", False),
        ("*", "https://a.io/v2/", True),
        ("a.io", "https://a.io/", True),
        ("a.io", "https://sub.a.io/", True),
        ("a.io", "https://xa.io/", False),
        (".a.io", "https://sub.a.io/", True),
        (".a.io", "https://a.io/", False),
        ("*.a.io", "https://sub.a.io/", True),
        ("A.IO", "https://a.io/", True),
        ("a.io:5000", "https://a.io/", False),
        ("a.io:5000", "https://a.io:5000/", True),
        ("a.io:443", "https://a.io/", True),
        ("b.io, a.io", "https://a.io/", True),
        ("b.io a.io", "https://a.io/", True),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.0.0.1", "https://10.0.0.1:5000/", True),
        ("10.0.0.1:5000", "https://10.0.0.1/", False),
        ("fd00::/8", "https://[fd00::1]:5000/", True),
        ("[fd00::1]:5000", "https://[fd00::1]:5000/", True),
        ("nonsense/99", "https://10.0.0.1/", False),
        ("", "http://localhost:5000/", True),
        ("", "http://127.0.0.1:5000/", True),
        ("", "https://[::1]/", True),
    ],
)
def test_no_proxy(exceptions: str, url: str, *, is_direct: bool) -> None:
    proxies = Proxies.parse({"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, "NO_PROXY": exceptions})
    assert proxies.for_url(url) == (None if is_direct else PROXY)


def test_scheme_decides() -> None:
    proxies = Proxies.parse({"https_proxy": "proxy:1", "HTTPS_PROXY": "http://upper:2", "HTTP_PROXY": ""})
    assert proxies.for_url("https://a.io") == "http://proxy:1"
    assert proxies.for_url("http://a.io") is None


def test_password_is_in_no_repr() -> None:
    assert "hunter2" not in repr(Proxies.parse({"HTTPS_PROXY": "http://user:hunter2@proxy"}))


@pytest.mark.parametrize("value", ["socks5://proxy", "http://", "ftp://proxy"])
def test_other_proxies_are_refused(value: str) -> None:
    with pytest.raises(UsageError, match="HTTPS_PROXY"):
        Proxies.parse({"HTTPS_PROXY": value})


def test_a_request_goes_through_the_proxy() -> None:
    with FaultyRegistry(lambda asked: Answer(200, b"well")) as server:
        proxies = Proxies(http=f"http://bob:hunter2@{server.host}")
        with Client(rules=HostRules(insecure_registries=("registry.test",)), proxies=proxies) as client:
            endpoint = client.rules.push_endpoint("registry.test")
            url = endpoint.url("team/app", "manifests/1")
            assert client.fetch(Request("GET", endpoint, url, "read it", "team/app")).body == b"well"
    (asked,) = server.asked
    assert asked.path == "http://registry.test/v2/team/app/manifests/1"
    assert asked.headers["host"] == "registry.test"
    assert asked.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"bob:hunter2").decode()
