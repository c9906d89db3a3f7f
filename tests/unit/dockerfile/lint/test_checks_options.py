"""`# check=` directives, the build argument, the rules they name."""

import pytest

from knarr.dockerfile.language.parser import parse
from knarr.dockerfile.lint.options import CHECK_ARG, CheckOptions
from knarr.dockerfile.lint.rules import RULES, Finding
from knarr.errors import DockerfileError, SourceLocation, UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", CheckOptions()),
        ("  ", CheckOptions()),
        ("skip=A", CheckOptions(frozenset({"A"}))),
        (" skip = A , B ", CheckOptions(frozenset({"A", "B"}))),
        ("skip=all;error=true", CheckOptions(frozenset({"all"}), error=True)),
        ("error=false", CheckOptions()),
        ("error=1;experimental=C", CheckOptions(experimental=frozenset({"C"}), error=True)),
        ("skip=A;error=T;experimental=all", CheckOptions(frozenset({"A"}), frozenset({"all"}), error=True)),
    ],
)
def test_parse(text: str, expected: CheckOptions) -> None:
    assert CheckOptions.parse(text) == expected


@pytest.mark.parametrize("text", ["skip", "all", "skipped=A", "error=yes", "skip=A;", "skip=A;error=1;;"])
def test_malformed(text: str) -> None:
    with pytest.raises(ValueError, match=r"check option|boolean"):
        CheckOptions.parse(text)


def test_malformed_directive_and_build_argument() -> None:
    dockerfile = parse(b"# check=error=maybe\nFROM scratch\n", file="Dockerfile")
    with pytest.raises(DockerfileError, match="Dockerfile: failed to parse check options"):
        CheckOptions.of(dockerfile, {})
    with pytest.raises(UsageError, match=CHECK_ARG):
        CheckOptions.of(dockerfile, {CHECK_ARG: "skip"})
    assert CheckOptions.of(dockerfile, {CHECK_ARG: "error=true"}).error


def test_comments_can_not_set_error() -> None:
    local = CheckOptions().with_comments(["check=skip=A;error=true", "check=skip=B"])
    assert local == CheckOptions(frozenset({"A"}))


def test_fail_names_each_rule_once() -> None:
    location = SourceLocation("Dockerfile", 2, "CMD a", 0)
    findings = [
        Finding(RULES[name], "detail", location, 2)
        for name in ("FromAsCasing", "JSONArgsRecommended", "FromAsCasing")
    ]
    CheckOptions().fail(findings)
    CheckOptions(error=True).fail([])
    with pytest.raises(DockerfileError) as caught:
        CheckOptions(error=True).fail(findings)
    assert caught.value.message == "lint violation found for rules: FromAsCasing, JSONArgsRecommended"
    assert caught.value.location == location


@pytest.mark.parametrize(
    ("rule", "page"),
    [
        ("StageNameCasing", "stage-name-casing"),
        ("JSONArgsRecommended", "json-args-recommended"),
        ("SecretsUsedInArgOrEnv", "secrets-used-in-arg-or-env"),
        ("FromPlatformFlagConstDisallowed", "from-platform-flag-const-disallowed"),
        ("UndefinedArgInFrom", "undefined-arg-in-from"),
    ],
)
def test_pages(rule: str, page: str) -> None:
    assert RULES[rule].url == f"https://docs.docker.com/go/dockerfile/rule/{page}/"


def test_rules() -> None:
    assert len(RULES) == 22
    assert [name for name, rule in RULES.items() if not rule.url] == ["InvalidBaseImagePlatform"]
    assert [name for name, rule in RULES.items() if rule.experimental] == ["InvalidDefinitionDescription"]
