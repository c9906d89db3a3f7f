"""Runs the build checks: on the file as a whole, on the stages that are built."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from knarr.dockerfile.language.parser import Dockerfile
from knarr.dockerfile.language.scope import global_scope
from knarr.dockerfile.lint import files as checks_files
from knarr.dockerfile.lint import from_ as checks_from
from knarr.dockerfile.lint import stage as checks_stage
from knarr.dockerfile.lint import text as checks_text
from knarr.dockerfile.lint import variables as checks_variables
from knarr.dockerfile.lint.from_ import FromArgs
from knarr.dockerfile.lint.options import CheckOptions
from knarr.dockerfile.lint.rules import RULES, Finding
from knarr.dockerfile.lint.text import Hit
from knarr.dockerfile.lint.walk import CheckContext, StageView, view_stages
from knarr.dockerfile.stages.stages import PlannedStage
from knarr.errors import DockerfileError

_TEXT_CHECKS: Mapping[str, Callable[[Dockerfile], Iterator[Hit]]] = {
    "ConsistentInstructionCasing": checks_text.instruction_casing,
    "DuplicateStageName": checks_text.duplicate_stage_name,
    "FromAsCasing": checks_text.from_as_casing,
    "InvalidDefinitionDescription": checks_text.definition_description,
    "MaintainerDeprecated": checks_text.maintainer_deprecated,
    "NoEmptyContinuation": checks_text.empty_continuation,
    "ReservedStageName": checks_text.reserved_stage_name,
    "StageNameCasing": checks_text.stage_name_casing,
}

_FROM_CHECKS: Mapping[str, Callable[[Dockerfile, FromArgs], Iterator[Hit]]] = {
    "FromPlatformFlagConstDisallowed": checks_from.constant_platform,
    "InvalidDefaultArgInFrom": checks_from.invalid_default,
    "RedundantTargetPlatform": checks_from.redundant_platform,
    "UndefinedArgInFrom": checks_from.undefined_arg,
}

_STAGE_CHECKS: Mapping[str, Callable[[StageView], Iterator[Hit]]] = {
    "CopyIgnoredFile": checks_files.ignored_sources,
    "ExposeInvalidFormat": checks_stage.expose_format,
    "ExposeProtoCasing": checks_stage.expose_protocol_casing,
    "InvalidBaseImagePlatform": checks_stage.base_image_platform,
    "JSONArgsRecommended": checks_stage.json_args,
    "LegacyKeyValueFormat": checks_stage.legacy_key_value,
    "MultipleInstructionsDisallowed": checks_stage.multiple_instructions,
    "SecretsUsedInArgOrEnv": checks_stage.secrets,
    "WorkdirRelativePath": checks_stage.relative_workdir,
}

_VARIABLE_CHECKS: Mapping[str, Callable[[Dockerfile, StageView], Iterator[Hit]]] = {
    "UndefinedVar": checks_variables.undefined_variables,
}


def check_file(dockerfile: Dockerfile, options: CheckOptions, context: CheckContext) -> tuple[Finding, ...]:
    """What the text and every FROM show, needed or not, by line. Never raises."""
    args = FromArgs(context.global_args, _defaults(dockerfile, context))
    found = [(rule, hit) for rule, check in _TEXT_CHECKS.items() for hit in check(dockerfile)]
    found += [(rule, hit) for rule, check in _FROM_CHECKS.items() for hit in check(dockerfile, args)]
    return _findings(found, options)


def check_stages(
    dockerfile: Dockerfile, plan: Iterable[PlannedStage], options: CheckOptions, context: CheckContext
) -> tuple[Finding, ...]:
    """What the instructions of the planned stages show, by line. Never raises."""
    found: list[tuple[str, Hit]] = []
    for view in view_stages(plan, context):
        found += [(rule, hit) for rule, check in _STAGE_CHECKS.items() for hit in check(view)]
        found += [(rule, hit) for rule, check in _VARIABLE_CHECKS.items() for hit in check(dockerfile, view)]
    return _findings(found, options)


def by_line(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in the order of the file; those of one line by rule, then by text."""
    return tuple(sorted(findings, key=lambda each: (each.location.line, each.rule.name, each.detail)))


def _findings(found: Iterable[tuple[str, Hit]], options: CheckOptions) -> tuple[Finding, ...]:
    return by_line(
        _finding(name, hit)
        for name, hit in found
        if options.with_comments(hit.instruction.comments).wants(RULES[name])
    )


def _finding(name: str, hit: Hit) -> Finding:
    location, end_line = hit.instruction.location, hit.instruction.end_line
    if hit.line is not None:
        location, end_line = replace(location, line=hit.line, text="", column=None), hit.line
    return Finding(RULES[name], hit.detail, location, end_line)


def _defaults(dockerfile: Dockerfile, context: CheckContext) -> Mapping[str, str] | None:
    """What FROM sees without build arguments; None where a default can't be expanded."""
    try:
        return global_scope(
            dockerfile.global_args,
            build_args={},
            build_platform=str(context.platform),
            target_platform=str(context.platform),
            target_stage=context.global_args.get("TARGETSTAGE"),
            escape=context.escape,
        )
    except DockerfileError:
        return None
