"""What a build would do, as lines of text, found out without doing it."""

from collections.abc import Iterator

from knarr.builder.cache.step_cache import CacheState, StepCache, StepVerdict
from knarr.builder.plan.layer_step import LayerStep
from knarr.builder.plan.stage import located
from knarr.builder.request.request import Outputs
from knarr.builder.run.stage_runner import StageRunner
from knarr.dockerfile.language.instructions import Instruction
from knarr.dockerfile.language.remote_sources import without_credentials
from knarr.dockerfile.stages.stages import PlannedStage
from knarr.errors import KnarrError

_UNKNOWN = "what it depends on is built first"


class Forecast:
    """The plan of one build in kaniko's words; `cache` is None for a build without one."""

    def __init__(self, runner: StageRunner, cache: StepCache | None, outputs: Outputs) -> None:
        self._runner = runner
        self._cache = cache
        self._outputs = outputs
        self._lines: list[str] = []

    def lines(self) -> list[str]:
        """Stages, steps, verdicts of the cache, outputs. Raises KnarrError for a step that can't be taken."""
        self._lines = []
        for _ in self._runner.walk(self._tell_step, self._tell_stage, self._tell):
            pass
        return [*self._lines, *self._output_lines()]

    def _tell_stage(self, planned: PlannedStage) -> None:
        self._tell(planned.stage.from_)

    def _tell(self, instruction: Instruction) -> None:
        self._lines.append(_one_line(without_credentials(instruction.original)))

    def _tell_step(self, instruction: Instruction, step: LayerStep, position: CacheState) -> CacheState:
        self._tell(instruction)
        if self._cache is None:
            return position
        try:
            verdict = self._cache.foreseen(position, step)
        except KnarrError as error:
            raise located(error, instruction) from error
        if verdict is None:
            self._lines.append(f"  CACHE MISS ({_UNKNOWN})")
            return CacheState(None, "")
        self._lines.append(f"  {_judgement(verdict)}")
        return verdict.after(position, step, verdict.entry.layer if verdict.entry is not None else None)

    def _output_lines(self) -> Iterator[str]:
        if self._outputs.pushed_to:
            yield f"PUSH [{' '.join(str(each) for each in self._outputs.pushed_to)}]"
        for path in (self._outputs.oci_layout_path, self._outputs.tar_path):
            if path is not None:
                yield f"WRITE {path}"


def _judgement(verdict: StepVerdict) -> str:
    return "CACHE HIT" if verdict.entry is not None else f"CACHE MISS ({verdict.reason})"


def _one_line(text: str) -> str:
    """An instruction of several lines as its first one, and a sign that there are more."""
    first, newline, _ = text.strip().partition("\n")
    return f"{first} ..." if newline else first
