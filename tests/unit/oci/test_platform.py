import pytest

from knarr.errors import UsageError
from knarr.oci.platform import Platform


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("linux", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_parse(text: str, shown: str) -> None:
    assert str(Platform.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux/amd64/v1/x", "linux/a b", "linux//v7"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(UsageError, match="not a platform"):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("mine", "others"),
    [
        ("linux/arm/v7", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/amd64", ["linux/amd64"]),
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"]),
        ("linux/arm64", ["linux/arm64/v8"]),
    ],
)
def test_what_runs_in_order_of_fitness(mine: str, others: list[str]) -> None:
    scores = [Platform.parse(mine).runs(Platform.parse(other)) for other in others]
    assert all(scores)
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        ("linux/arm/v6", "linux/arm/v7"),
        ("linux/amd64", "linux/amd64/v2"),
        ("linux/amd64", "linux/arm64"),
        ("linux/amd64", "windows/amd64"),
        ("linux/arm64", "linux/arm/v7"),
    ],
)
def test_what_does_not_run(mine: str, other: str) -> None:
    assert Platform.parse(mine).runs(Platform.parse(other)) == 0
