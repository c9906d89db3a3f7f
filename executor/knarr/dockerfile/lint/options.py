"""Which build checks are wanted: `skip=A,B;error=true;experimental=C`.

Said by the `# check=` directive, by the build argument BUILDKIT_DOCKERFILE_CHECK instead of it, and for one
instruction by a `# check=` comment above it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from knarr.dockerfile.language.parser import Dockerfile
from knarr.dockerfile.lint.rules import Finding, Rule
from knarr.dockerfile.syntax.directives import parse_directive
from knarr.dockerfile.syntax.text import BLANKS, parse_bool
from knarr.errors import DockerfileError, UsageError

CHECK_ARG = "BUILDKIT_DOCKERFILE_CHECK"
"""The build argument that counts instead of the directive."""

_ALL = "all"
_MOST_PARTS = 3


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Rules to leave out, experimental ones to put in; `all` stands for every rule.

    As in BuildKit an experimental rule is not skipped: it is off unless asked for. `error` makes findings
    fail the build.
    """

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    @classmethod
    def parse(cls, text: str) -> "CheckOptions":
        """Read `key=value` parts; raises ValueError."""
        names = {"skip": frozenset[str](), "experimental": frozenset[str]()}
        error = False
        for part in text.split(";", _MOST_PARTS - 1) if text.strip(BLANKS) else ():
            key, equals, value = part.partition("=")
            key, value = key.strip(BLANKS), value.strip(BLANKS)
            if equals and key in names:
                names[key] = frozenset(name.strip(BLANKS) for name in value.split(","))
            elif equals and key == "error":
                error = parse_bool(value)
            else:
                raise ValueError(f"invalid check option {part.strip(BLANKS)!r}")
        return cls(names["skip"], names["experimental"], error)

    @classmethod
    def of(cls, dockerfile: Dockerfile, build_args: Mapping[str, str]) -> "CheckOptions":
        """A build's options; raises DockerfileError for the directive, UsageError for the build argument."""
        given = build_args.get(CHECK_ARG)
        hint = "skip=RULE,RULE or skip=all; error=true; experimental=RULE, separated by ';'"
        try:
            return cls.parse(given or dockerfile.directives.check or "")
        except ValueError as error:
            message = f"failed to parse check options: {error}"
            if given:
                raise UsageError(f"--build-arg {CHECK_ARG}: {message}", hint=hint) from None
            raise DockerfileError(f"{dockerfile.file}: {message}", hint=hint) from None

    def with_comments(self, comments: Iterable[str]) -> "CheckOptions":
        """These options with the first `check=` among an instruction's comments; a malformed one is ignored.

        It ends at the first blank, so that a reason can stand behind it. It can't set `error`.
        """
        directives = (parse_directive(f"#{comment}") for comment in comments)
        text = next((value for key, value in filter(None, directives) if key == "check"), "")
        try:
            local = CheckOptions.parse(text.partition(" ")[0])
        except ValueError:
            return self
        return CheckOptions(self.skip | local.skip, self.experimental | local.experimental, self.error)

    def wants(self, rule: Rule) -> bool:
        """Whether the rule's findings are to be shown."""
        if rule.experimental:
            return bool(self.experimental & {_ALL, rule.name})
        return not self.skip & {_ALL, rule.name}

    def fail(self, findings: Iterable[Finding]) -> None:
        """Raise DockerfileError at the first finding, where findings are to fail the build."""
        found = tuple(findings)
        if self.error and found:
            raise DockerfileError(
                violation(found), location=found[0].location, hint="check=error=true is set"
            )


def violation(findings: Iterable[Finding]) -> str:
    """The message that names the rules broken, each once."""
    names = dict.fromkeys(finding.rule.name for finding in findings)
    return f"lint violation found for rules: {', '.join(names)}"
