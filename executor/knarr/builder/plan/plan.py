"""What a build does: the stages that the targets need, their steps, the images that they start from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from knarr.builder.plan.steps import Step
from knarr.dockerfile.language.instructions import From
from knarr.dockerfile.stages.stages import FromReference
from knarr.images.image import Image, Layer
from knarr.oci.image_config import ImageConfig


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage: it starts from the stage `parent`, or else from the image `base`.

    `base` of `FROM scratch` has no layers, and that of a stage on another is the image at the bottom of both.
    """

    index: int
    name: str
    from_: From
    parent: int | None
    base: Image
    first_config: ImageConfig
    """The image config before the first step, its diff_ids those of `base`."""
    steps: tuple[Step, ...]

    @property
    def id(self) -> str:
        """What events call the stage: its place in the file, counted from 0."""
        return str(self.index)

    @property
    def config(self) -> ImageConfig:
        """The image config after the last step, its diff_ids those of `base`."""
        return self.steps[-1].config if self.steps else self.first_config

    def image(self, layers: tuple[Layer, ...]) -> Image:
        """The stage's image, once its layers are known, those of `base` among them."""
        return Image(self.config.with_diff_ids(layer.diff_id for layer in layers), layers)


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole build. `stages` are in the order of the file, in which each stage comes after what it needs.

    `targets` are the stages asked for; the first is the image. `images` are those that COPY and mounts name.
    """

    stages: Mapping[int, StagePlan]
    targets: tuple[int, ...]
    images: Mapping[FromReference, Image]
    labels: tuple[tuple[str, str], ...]
    created_s: int
    """The time of config, history, files without a time of their own: seconds since 1970."""
    single_snapshot: bool = False
    """Whether all that the build adds to its base is one layer."""

    @property
    def target(self) -> StagePlan:
        """The stage that is the image."""
        return self.stages[self.targets[0]]

    @property
    def step_count(self) -> int:
        """How many steps all stages have together."""
        return sum(len(stage.steps) for stage in self.stages.values())

    def chain(self, index: int) -> tuple[StagePlan, ...]:
        """A stage with those that it stands on, the stage itself first."""
        found = [self.stages[index]]
        while (parent := found[-1].parent) is not None:
            found.append(self.stages[parent])
        return tuple(found)

    def finished(self, image: Image) -> Image:
        """The target's image as it is delivered: with the labels asked for, and the time of the build."""
        config = image.config.with_labels(self.labels)
        return image.with_config(config.with_property("created", timestamp(self.created_s)))


def timestamp(seconds: int) -> str:
    """A time as config and history have it (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
