"""Builds as their events, with the seconds that pass before each."""

from collections.abc import Sequence

from knarr.errors import RunError
from knarr.progress import (
    BaseResolved,
    BaseSought,
    BuildPlanned,
    BuiltLayer,
    CacheJudged,
    CheckFound,
    Event,
    ImageBuilt,
    Note,
    Phase,
    Pushed,
    Pushing,
    SourceRead,
    StageEnded,
    StageStarted,
    StepEnded,
    StepStarted,
    Transfer,
    TransferProgress,
    Transferred,
    TransferStarted,
)

Story = Sequence[tuple[float, Event]]

BEGAN_AT_S = 1_764_000_000.0
HOSTILE = "<script>alert('x')</script> | `code` [a](javascript:b) @octocat ##[error]x \x1b[31mred\u202e"
ERROR = RunError("Dockerfile:5: RUN make: the process ended with status 2", status=2, hint="look above")

_SOURCE = f"""\
# {HOSTILE}
FROM debian AS build
ENV A b
COPY . /src
RUN make \\
    all
FROM scratch
COPY --from=build /src/out /
"""


def _digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


_BASE = Transfer("pull", "docker.io/library/debian", _digest("a"), 66_300_000)
_LAYER = Transfer("push", "registry.example/team/app", _digest("d"), 20_000_000)

_BEGIN: Story = [
    (0.0, SourceRead("/work/app/Dockerfile", _SOURCE)),
    (0.1, Note("isolation namespace: root")),
    (0.1, BaseSought("docker.io/library/debian:latest")),
    (0.2, BaseResolved("docker.io/library/debian:latest", _digest("b"), 1, 66_300_000)),
    (
        0.0,
        CheckFound(
            "LegacyKeyValueFormat",
            '"ENV key=value", not "ENV key value": 5% off',
            3,
            3,
            "https://x.example/rule",
        ),
    ),
    (0.0, Note("registry.example warns: go away", "warning")),
    (0.0, BuildPlanned(2, 4)),
    (0.0, StageStarted("0", 0, "build", "debian", 2)),
    (0.0, StepStarted("0/1", "build", 1, 3, "ENV A b", 3, 3)),
    (0.0, StepEnded("0/1", "build", 1, 3, 0.0)),
    (0.0, StepStarted("0/2", "build", 2, 3, "COPY . /src", 4, 4)),
    (0.0, CacheJudged("0/2", 0, 2, "COPY . /src", is_hit=True)),
    (0.1, StepEnded("0/2", "build", 2, 3, 0.1, 3_000_000, _digest("c"))),
    (0.0, StepStarted("0/3", "build", 3, 3, f"RUN make all {HOSTILE}", 5, 6)),
    (0.0, CacheJudged("0/3", 0, 3, "RUN make all", is_hit=False, reason="not in the cache")),
    (0.0, Phase("extract", "base")),
    (0.0, TransferStarted(_BASE)),
    (1.0, TransferProgress(_BASE, 33_000_000)),
]
_PULLED: Story = [
    (1.0, Transferred("pulled", _BASE.digest, _BASE.size_bytes, 2.0, _BASE.repository)),
    (1.0, Phase("run")),
    (1.5, Note("said while a process writes")),
    (1.5, Phase("snapshot", "full")),
]
_END: Story = [
    (0.5, Phase("compress")),
    (1.0, StepEnded("0/3", "build", 3, 3, 7.5, 20_000_000, _digest("d"))),
    (0.0, StageEnded("0", 0)),
    (0.0, StageStarted("1", 1, "stage-1", "scratch", 7)),
    (0.0, StepStarted("1/1", "stage-1", 1, 1, "COPY --from=build /src/out /", 8, 8)),
    (0.0, TransferStarted(_LAYER)),
    (0.0, Phase("compress")),
    (0.5, TransferProgress(_LAYER, 10_000_000)),
    (0.5, StepEnded("1/1", "stage-1", 1, 1, 1.0, 20_000_000, _digest("d"))),
    (0.0, StageEnded("1", 1)),
    (
        0.0,
        ImageBuilt(
            _digest("e"),
            _digest("f"),
            "linux/amd64",
            (BuiltLayer(_digest("a"), 66_300_000), BuiltLayer(_digest("d"), 20_000_000)),
        ),
    ),
    (1.0, Transferred("pushed", _LAYER.digest, _LAYER.size_bytes, 2.0, _LAYER.repository)),
    (0.0, Transferred("mounted", _digest("a"), 66_300_000, 0.1, "registry.example/team/app")),
    (0.0, Pushing("registry.example/team/app:1")),
    (0.1, Pushed("registry.example/team/app:1", _digest("e"))),
]

DOWNLOADING: Story = _BEGIN
"""Up to the midst of a download."""
SUCCEEDING: Story = [*_BEGIN, *_PULLED, *_END]
FAILING: Story = [*_BEGIN, *_PULLED[:3]]
"""Up to where ERROR comes up, in the midst of a RUN step."""
NESTED: Story = [
    (0.0, StageStarted("1", 1, "outer", "scratch")),
    (0.0, StepStarted("1/1", "outer", 1, 1, "RUN --mount=from=inner true")),
    (0.0, Note("first")),
    (0.0, StageStarted("0", 0, "inner", "scratch")),
    (0.0, StepStarted("0/1", "inner", 1, 1, "COPY a /")),
    (0.0, Phase("compress")),
    (1.0, StepEnded("0/1", "inner", 1, 1, 1.0, 10)),
    (0.0, StageEnded("0", 0)),
    (0.0, Phase("run")),
    (2.0, StepEnded("1/1", "outer", 1, 1, 3.0, 20)),
    (0.0, StageEnded("1", 1)),
]
"""A stage that is built in the midst of another one's step."""
