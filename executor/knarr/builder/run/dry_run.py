"""What a build would do, as lines of text in kaniko's words."""

from collections.abc import Iterator

from knarr.builder.cache.decisions import Decisions
from knarr.builder.plan.plan import Plan
from knarr.builder.plan.steps import Step
from knarr.builder.request.request import Outputs
from knarr.dockerfile.language.remote_sources import without_credentials

_UNKNOWN = "what it depends on is built first"


def describe(plan: Plan, decisions: Decisions, outputs: Outputs) -> list[str]:
    """Stages, steps, verdicts of the cache, outputs."""
    lines: list[str] = []
    for stage in plan.stages.values():
        lines.append(without_credentials(stage.from_.original))
        for step in stage.steps:
            lines.append(step.text)
            if step.layer is not None and decisions.has_cache:
                lines.append(f"  {_judgement(decisions, step)}")
    return [*lines, *_output_lines(outputs)]


def _judgement(decisions: Decisions, step: Step) -> str:
    verdict = decisions.of(step)
    if verdict is None:
        return f"CACHE MISS ({_UNKNOWN})"
    return "CACHE HIT" if verdict.entry is not None else f"CACHE MISS ({verdict.reason})"


def _output_lines(outputs: Outputs) -> Iterator[str]:
    if outputs.pushed_to:
        yield f"PUSH [{' '.join(str(each) for each in outputs.pushed_to)}]"
    for export in outputs.exports:
        yield f"WRITE {export.path}"
