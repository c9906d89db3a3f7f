"""Events that a build reports; nothing here prints.

An event has no time: whoever takes it looks at a clock of its own. An event about a stage or a step names it
by its id, so that several stages can be built side by side. A stage's id is its index in the file as text:
`0`. A step's id is the stage's, a slash and its number: `0/3` is the third step of the first stage. Numbers
count the stage's instructions from 1, with those that the base's ONBUILD adds.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

PhaseName = Literal["index", "extract", "run", "snapshot", "compress"]
"""What a step is busy with: reading layers' headers, unpacking them, its process, finding out what it
changed, packing that into a layer."""

Direction = Literal["pull", "push"]


@dataclass(frozen=True, slots=True)
class Note:
    """Something to say to the user; `level` is debug, info or warning."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class SourceRead:
    """The Dockerfile, its path absolute, its text without the credentials in its URLs."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckFound:
    """A build check found something in lines `line` to `end_line`, both included, counted from 1."""

    rule: str
    detail: str
    line: int
    end_line: int
    url: str = ""


@dataclass(frozen=True, slots=True)
class BaseSought:
    """A registry is asked for an image to start or copy from."""

    reference: str


@dataclass(frozen=True, slots=True)
class BaseResolved:
    """What that image is; the size is that of its compressed layers."""

    reference: str
    digest: str
    layers: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BuildPlanned:
    """How many stages with how many steps in all the target needs."""

    stages: int
    steps: int


@dataclass(frozen=True, slots=True)
class StageStarted:
    """Work on a stage begins; `index` is its place in the file, `base` what its FROM names."""

    stage: str
    """The stage's id."""
    index: int
    name: str
    base: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class StageEnded:
    """The stage is built. It may begin and end while a step of another stage is under way."""

    stage: str
    """The stage's id."""
    index: int


@dataclass(frozen=True, slots=True)
class StepStarted:
    """Work on one instruction begins; `step` is its id, `number` counts from 1 within the stage's `total`.

    It stands in lines `line` to `end_line` of the Dockerfile; 0 where that is not known.
    """

    step: str
    stage: str
    """The stage's name."""
    number: int
    total: int
    text: str
    line: int = 0
    end_line: int = 0


@dataclass(frozen=True, slots=True)
class CacheJudged:
    """Whether the cache has what a step makes; `reason` says why not. It may come before the step starts."""

    step: str
    stage: int
    """The stage's index."""
    number: int
    text: str
    is_hit: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """A step is busy with this from now on, until its next phase or its end.

    Where `step` is empty, the step is the one that was started last in the stage that was started last.
    """

    name: PhaseName
    detail: str = ""
    """`base` where a whole root file system is unpacked, `full` where one is scanned."""
    step: str = ""


@dataclass(frozen=True, slots=True)
class StepEnded:
    """The instruction is done; `layer_bytes` is the compressed layer's size, None where it makes none."""

    step: str
    stage: str
    """The stage's name."""
    number: int
    total: int
    duration_s: float
    layer_bytes: int | None = None
    layer_digest: str = ""


@dataclass(frozen=True, slots=True)
class StepFailed:
    """The instruction has failed, and the build with it: what follows is no work on it."""

    step: str
    stage: str
    """The stage's name."""
    number: int
    total: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Transfer:
    """A blob on its way from or to a repository (`registry/name`)."""

    direction: Direction
    repository: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TransferStarted:
    """The first byte is about to be moved; told again where it is begun anew."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """So many bytes have been moved."""

    transfer: Transfer
    done_bytes: int


@dataclass(frozen=True, slots=True)
class Transferred:
    """A blob was moved, or spared: `how` is pulled, pushed, mounted or exists."""

    how: str
    digest: str
    size_bytes: int
    duration_s: float = 0.0
    repository: str = ""
    """Where to or from; empty where the blob was asked for and here already."""


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """A layer of the finished image, compressed."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ImageBuilt:
    """The image is complete, and pushed nowhere yet; the lowest layer comes first."""

    digest: str
    config_digest: str
    platform: str
    layers: tuple[BuiltLayer, ...]


@dataclass(frozen=True, slots=True)
class Pushing:
    """What is missing of the image is sent to a repository, then tagged as `reference`."""

    reference: str


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image has its tag; `reference` is the name, `digest` the manifest's."""

    reference: str
    digest: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The build ends without an image; `line` is 0 where it is about none in particular."""

    message: str
    hint: str = ""
    line: int = 0
    exit_status: int = 1
    output: str = ""
    """The last lines that the step's process wrote; empty where none were read."""


Event = (
    Note
    | SourceRead
    | CheckFound
    | BaseSought
    | BaseResolved
    | BuildPlanned
    | StageStarted
    | StageEnded
    | StepStarted
    | CacheJudged
    | Phase
    | StepEnded
    | StepFailed
    | TransferStarted
    | TransferProgress
    | Transferred
    | ImageBuilt
    | Pushing
    | Pushed
    | Failed
)


def stage_of(step: str) -> str:
    """The id of the stage that a step's id names."""
    return step.rpartition("/")[0]


class Reporter(Protocol):
    """What a build tells its events to; called from several threads."""

    def report(self, event: Event) -> None:
        """Take one event; never raises, never blocks for long."""


class Silent:
    """A reporter that drops every event."""

    def report(self, event: Event) -> None:
        """Drop the event."""
