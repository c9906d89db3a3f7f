"""The command-line grammar of kaniko."""

import pytest

from knarr.cli.values.grammar import Flag, Grammar, parse_bool, parse_map, parse_pair
from knarr.errors import UsageError

GRAMMAR = Grammar.of(
    [
        Flag("destination", "d"),
        Flag("verbosity", "v"),
        Flag("no-push", switch=True),
        Flag("context", "c"),
    ],
    refused={"bucket": "fetch it before"},
    lists={"destinations": "destination", "secrets": "secret"},
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["--"]),
        (["--destination=a"], ["--destination=a", "--"]),
        (["--destination", "a"], ["--destination=a", "--"]),
        (["--destination", "--no-push"], ["--destination=--no-push", "--"]),
        (["--destination="], ["--destination=", "--"]),
        (["-da"], ["--destination=a", "--"]),
        (["-d", "a"], ["--destination=a", "--"]),
        (["-d=a"], ["--destination=a", "--"]),
        (["-d", "-x"], ["--destination=-x", "--"]),
        (["--no-push"], ["--no-push=true", "--"]),
        (["--no-push=false"], ["--no-push=false", "--"]),
        (["--no-push", "false"], ["--no-push=true", "--", "false"]),
        (["-vdebug", "dir"], ["--verbosity=debug", "--", "dir"]),
        (["dir", "-d", "a", "--", "-d"], ["--destination=a", "--", "dir", "-d"]),
        (["-"], ["--", "-"]),
        (["--no-push", "-h", "--nonsense"], ["--help"]),
        (["--destination=a=b"], ["--destination=a=b", "--"]),
        (["--no-push="], ["--"]),
        (["--destinations", "--end"], ["--"]),
        (["--destinations", "a", "--end", "dir"], ["--destination=a", "--", "dir"]),
        (
            ["--destinations", "-d", "--no-push", "", "--x=y", "--end", "-db"],
            [
                *("--destination=-d", "--destination=--no-push", "--destination=", "--destination=--x=y"),
                *("--destination=b", "--"),
            ],
        ),
    ],
)
def test_normalise(arguments: list[str], expected: list[str]) -> None:
    assert GRAMMAR.normalise(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--destinatoin=a"], "unknown flag: --destinatoin\nhint: did you mean --destination?"),
        (["--dest=a"], "unknown flag: --dest"),
        (["-x"], "unknown flag: -x in -x"),
        (["-context=a"], None),
        (["-no-push"], "unknown flag: -n in -no-push\nhint: a long flag has two dashes: --no-push"),
        (["--destination"], "flag needs an argument: --destination"),
        (["-d"], "flag needs an argument: -d"),
        (
            ["--destinations", "a"],
            "the list of --destinations has no end\nhint: write --destinations A B --end",
        ),
        (["--destinations=a", "--end"], "--destinations takes no value behind '='"),
        (["--secrets", "a", "--end"], "unknown flag: --secrets"),
        (["--end"], "--end ends no list\nhint: lists are --destinations"),
        (["--destinatons", "a"], "did you mean --destinations?"),
        (["--bucket=b"], "knarr has no --bucket\nhint: fetch it before"),
    ],
)
def test_refused(arguments: list[str], message: str | None) -> None:
    if message is None:
        assert GRAMMAR.normalise(arguments) == ["--context=ontext=a", "--"]
        return
    with pytest.raises(UsageError) as caught:
        GRAMMAR.normalise(arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true(text: str) -> None:
    assert parse_bool(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_false(text: str) -> None:
    assert parse_bool(text) is False


@pytest.mark.parametrize("text", ["", "yes", "no", "tRUE", "on"])
def test_not_a_boolean(text: str) -> None:
    with pytest.raises(UsageError):
        parse_bool(text)


def test_pair_splits_at_the_first_equals_sign() -> None:
    assert parse_pair("a=b=c", "--label") == ("a", "b=c")
    with pytest.raises(UsageError, match="--label takes key=value"):
        parse_pair("a", "--label")
    with pytest.raises(UsageError):
        parse_pair("=a", "--label")


def test_map() -> None:
    assert parse_map(["a=b;c=d", "", "a=e"], "--registry-map") == [("a", "b"), ("c", "d"), ("a", "e")]
