"""The build checks by name, with what BuildKit calls and says of each.

Names, descriptions and addresses are BuildKit's (`frontend/dockerfile/linter/ruleset.go`): editors, CI
annotations and `# check=skip=` go by them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from knarr.errors import SourceLocation

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Rule:
    """One check; an experimental one is off until `experimental=` names it."""

    name: str
    description: str
    experimental: bool = False
    has_page: bool = True

    @property
    def url(self) -> str:
        """The page that explains the rule, empty where there is none."""
        page = _CAPITAL.sub("-", self.name).lower()
        return f"https://docs.docker.com/go/dockerfile/rule/{page}/" if self.has_page else ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule broken somewhere; lines are those of `location.line` to `end_line`, both included."""

    rule: Rule
    detail: str
    location: SourceLocation
    end_line: int

    def __str__(self) -> str:
        return f"{self.rule.name}: {self.detail} (line {self.location.line})"


_RULES = (
    Rule("StageNameCasing", "Stage names should be lowercase"),
    Rule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword"),
    Rule("NoEmptyContinuation", "Empty continuation lines will become errors in a future release"),
    Rule(
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    Rule("DuplicateStageName", "Stage names should be unique"),
    Rule("ReservedStageName", "Reserved words should not be used as stage names"),
    Rule(
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    ),
    Rule(
        "MaintainerDeprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    ),
    Rule("UndefinedArgInFrom", "FROM command must use declared ARGs"),
    Rule(
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results "
        "if the base image changes",
    ),
    Rule("UndefinedVar", "Variables should be defined before their use"),
    Rule(
        "MultipleInstructionsDisallowed",
        "Multiple instructions of the same type should not be used in the same stage",
    ),
    Rule("LegacyKeyValueFormat", "Legacy key/value format with whitespace separator should not be used"),
    Rule(
        "InvalidBaseImagePlatform",
        "Base image platform does not match expected target platform",
        has_page=False,
    ),
    Rule(
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    Rule("SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands"),
    Rule(
        "InvalidDefaultArgInFrom",
        "Default value for global ARG results in an empty or invalid base image name",
    ),
    Rule("FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value"),
    Rule("CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore"),
    Rule(
        "InvalidDefinitionDescription",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. "
        "If this is not intended to be a description comment, add an empty line or comment between the "
        "instruction and the comment.",
        experimental=True,
    ),
    Rule("ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase"),
    Rule(
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction. "
        "This will become an error in a future release",
    ),
)

RULES: Mapping[str, Rule] = {rule.name: rule for rule in _RULES}
