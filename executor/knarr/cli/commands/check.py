"""`knarr check`: the build checks on a Dockerfile, without building it."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from knarr.builder.plan.state import Surroundings
from knarr.builder.plan.text_check import check_text
from knarr.builder.sources.context import find_dockerfile, read_dockerfile, read_ignore_patterns
from knarr.cli.command import Command
from knarr.cli.commands.check_output import CheckResult, as_json, as_text
from knarr.cli.flags.commands import CheckFlags
from knarr.cli.values.arguments import parse_build_args, parse_context
from knarr.cli.values.environment import read_environment, this_platform
from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.language.parser import Dockerfile, parse
from knarr.dockerfile.language.scope import global_scope
from knarr.dockerfile.lint.checks import by_line, check_file, check_stages
from knarr.dockerfile.lint.options import CheckOptions, violation
from knarr.dockerfile.lint.rules import Finding
from knarr.dockerfile.lint.walk import CheckContext
from knarr.dockerfile.stages.stages import PlannedStage, plan_stages, resolve_target, target_name
from knarr.dockerfile.syntax.frontend import frontend_warning
from knarr.errors import DockerfileError, UsageError

VIOLATION_STATUS = 1
"""Exit status for findings under `error=true`."""

_FORMATS = {"text": as_text, "json": as_json}

GROUPS = (CheckFlags,)


def run_check(arguments: Sequence[str]) -> int:
    """Run `knarr check` with its arguments; the result is the exit status."""
    return Command("check", GROUPS, _check).run(arguments)


def _check(flags: CheckFlags) -> int:
    """Check a Dockerfile without building it.

    Exit status 0, with findings too; 1 for findings where check=error=true is set; else as of knarr build.
    """
    render = _FORMATS.get(flags.format)
    if render is None:
        raise UsageError(f"not a format: {flags.format!r}", hint=f"one of {', '.join(_FORMATS)}")
    context = parse_context(flags.context_path, flags.context)
    path = find_dockerfile(flags.dockerfile, context, Path.cwd())
    data, ignore = read_dockerfile(path), read_ignore_patterns(path, context)
    build_args = parse_build_args(flags.build_arg, read_environment(os.environ))
    warning = frontend_warning(data.decode("utf-8", "replace"), build_args)
    if warning is not None:
        print(f"warning: {warning}", file=sys.stderr)
    result, options = _examine(data, path.name, ignore, build_args, flags.target or None)
    sys.stdout.write(render(result))
    if result.error is not None:
        raise result.error
    if options.error and result.findings:
        print(f"error: {violation(result.findings)}", file=sys.stderr)
        return VIOLATION_STATUS
    return 0


def _examine(
    data: bytes, name: str, ignore: IgnorePatterns, build_args: Mapping[str, str], target: str | None
) -> tuple[CheckResult, CheckOptions]:
    """What was found up to the first error in the Dockerfile, which is part of the result."""
    options, findings = CheckOptions(), tuple[Finding, ...]()
    try:
        dockerfile = parse(data, file=name)
        options = CheckOptions.of(dockerfile, build_args)
        context = _context(dockerfile, ignore, build_args, target)
        findings = check_file(dockerfile, options, context)
        plan = _plan(dockerfile, context, target)
        findings = by_line((*findings, *check_stages(dockerfile, plan, options, context)))
        _check_text(dockerfile, context, target)
    except DockerfileError as error:
        return CheckResult(name, data, findings, error), options
    return CheckResult(name, data, findings), options


def _context(
    dockerfile: Dockerfile, ignore: IgnorePatterns, build_args: Mapping[str, str], target: str | None
) -> CheckContext:
    platform, escape = this_platform(), dockerfile.directives.escape
    global_args = global_scope(
        dockerfile.global_args,
        build_args=build_args,
        build_platform=str(platform),
        target_platform=str(platform),
        target_stage=target_name(dockerfile, target),
        escape=escape,
    )
    return CheckContext(global_args, build_args, platform, escape, ignore)


def _check_text(dockerfile: Dockerfile, context: CheckContext, target: str | None) -> None:
    """Raise what the build of the target refuses for its text."""
    around = Surroundings(dockerfile, context.build_args, context.global_args, frozenset(), {}, 0)
    needed = plan_stages(dockerfile, resolve_target(dockerfile, target), context.global_args)
    check_text(needed, around, context.platform)


def _plan(dockerfile: Dockerfile, context: CheckContext, target: str | None) -> tuple[PlannedStage, ...]:
    """What the target needs, else every stage."""
    targets = [resolve_target(dockerfile, target)] if target else dockerfile.stages
    planned: dict[int, PlannedStage] = {}
    for stage in reversed(targets):
        if stage.index not in planned:
            for each in plan_stages(dockerfile, stage, context.global_args):
                planned[each.stage.index] = each
    return tuple(planned[index] for index in sorted(planned))
