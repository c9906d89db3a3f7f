"""Where the steps of a plan take files from, and errors about that with their place in the Dockerfile."""

from pathlib import Path

import pytest

from knarr.builder.plan.plan import Plan
from knarr.builder.plan.steps import FilesInput, RunStep
from knarr.builder.request.contexts import DirectoryContext
from knarr.dockerfile.language.mount import MountType
from knarr.dockerfile.stages.stages import (
    ContextReference,
    ImageReference,
    ScratchReference,
    StageReference,
)
from knarr.errors import DockerfileError, KnarrError, RegistryError
from support.faulty_registry import FaultyRegistry
from support.image_registry import ImageRegistry
from support.memory_registry import MemoryRegistry
from support.planned_builds import Workshop

MOUNTS = """\
FROM base AS tools
FROM base
ENV AT=/here
RUN --mount=target=$AT \\
    --mount=from=tools,source=/etc,target=/tools \\
    --mount=from=base,target=/base,rw \\
    --mount=from=other,target=/other \\
    --mount=from=scratch,target=/empty \\
    --mount=type=cache,target=/cache \\
    --mount=type=cache,from=tools,target=/filled \\
    --mount=type=tmpfs,target=/memory \\
    --mount=type=secret,id=token \\
    write /x 1
"""


@pytest.fixture
def other(workshop: Workshop) -> Path:
    """A named context that is a directory."""
    path = workshop.place / "other"
    path.mkdir()
    workshop.contexts["other"] = DirectoryContext(path)
    return path


def run_step(plan: Plan) -> RunStep:
    layer = plan.target.steps[-1].layer
    assert isinstance(layer, RunStep)
    return layer


@pytest.mark.usefixtures("other")
def test_mounts_have_their_origins(workshop: Workshop) -> None:
    plan = workshop.plan(MOUNTS)
    step = run_step(plan)
    assert [(mount.type, mount.target) for mount in step.mounts][:2] == [
        (MountType.BIND, "/here"),
        (MountType.BIND, "/tools"),
    ]
    assert len(step.mounts) == 9
    assert {mount.target: origin for mount, origin in step.mount_origins.items()} == {
        "/here": None,
        "/tools": StageReference(0),
        "/base": ContextReference("base"),
        "/other": ContextReference("other"),
        "/empty": ScratchReference(),
        "/filled": StageReference(0),
    }
    assert len(step.origins) == 5
    assert list(plan.target.steps[-1].source_stages) == [0]
    assert list(plan.images) == [ContextReference("base")]


@pytest.mark.usefixtures("other")
def test_an_input_of_an_image_has_its_layers(workshop: Workshop) -> None:
    step = run_step(workshop.plan(MOUNTS))
    files = {each.origin: each for each in step.inputs if isinstance(each, FilesInput)}
    images = {origin: each.image for origin, each in files.items()}
    image = images.pop(ContextReference("base"))
    assert image is not None
    assert len(image.layers) == 1
    assert set(images.values()) == {None}
    assert files[StageReference(0)].request.sources == ("/",)  # of the last one, the cache


def test_an_image_that_many_steps_name_is_looked_up_once(workshop: Workshop) -> None:
    with FaultyRegistry(ImageRegistry({"f": b"1"})) as registry:
        name = f"{registry.host}/tools"
        lines = f"FROM {name} AS a\nCOPY --from={name} /f /a\nRUN --mount=from={name},target=/m x\n"
        plan = workshop.plan(f"{lines}FROM a\nCOPY --from={name} /f /b\n")
        assert list(plan.images) == [ImageReference(name)]
        assert plan.images[ImageReference(name)] is plan.stages[0].base
        assert sum("/manifests/latest" in line for line in registry.lines) == 1
        assert not any(line.startswith("GET") and "layer" in line for line in registry.lines)


FAULTS = {
    "FROM": ("FROM base AS a\nFROM {host}/gone\n", 2),
    "COPY": ("FROM base\nENV A=1\nCOPY --from={host}/gone / /\n", 3),
    "mount": ("FROM base\nRUN --mount=from={host}/gone,target=/x true\n", 2),
    "the first of two": ("FROM base\nCOPY --from={host}/gone / /\nCOPY --from={host}/gone / /x\n", 2),
    "below a target": ("FROM base AS a\nCOPY --from={host}/gone / /\nFROM a\nRUN x\n", 2),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_image_that_is_not_there(workshop: Workshop, memory: MemoryRegistry, name: str) -> None:
    lines, line = FAULTS[name]
    with pytest.raises(RegistryError, match="404") as caught:
        workshop.plan(lines.format(host=memory.host))
    assert caught.value.line == line
    assert caught.value.message.startswith(f"Dockerfile:{line}: ")
    assert caught.value.message.count("Dockerfile:") == 1
    assert str(caught.value).count("Dockerfile:") == 1


def test_a_bad_image_name_of_a_copy(workshop: Workshop) -> None:
    with pytest.raises(KnarrError) as caught:
        workshop.plan("FROM base\nCOPY --from=no*name / /\n")
    assert str(caught.value).count("Dockerfile:2") == 1


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        ("FROM base\nVOLUME $NONE\n", 2, "an empty string"),
        ("FROM base\nCOPY [a- /x\n", 2, "is no pattern"),
        ("FROM base\nRUN --mount=type=cache true\n", 2, "invalid mount target"),
        ("FROM base\nWORKDIR /a\nRUN --mount=target=.. true\n", 3, "invalid mount target"),
        ("FROM base\nENV A=1\nCOPY https://example.test/a /\n", 3, "URL for COPY"),
        ("FROM base\nRUN --security=insecure x\n", 2, "--security=insecure is refused"),
        ("FROM base\nRUN --mount=type=cach,target=/x x\n", 2, "cach"),
        ("FROM base\nCOPY --from=1 / /\nFROM base\n", 2, "before current stage"),
        ("FROM --platform=no/such/thing/x base\n", 1, "platform"),
        ("FROM base AS a\nONBUILD VOLUME $NONE\nFROM a\n", 3, "an empty string"),
    ],
)
def test_errors_of_the_dockerfile_have_their_place(
    workshop: Workshop, lines: str, line: int, words: str
) -> None:
    with pytest.raises(DockerfileError, match=words) as caught:
        workshop.plan(lines, targets=("0",) if "--from=1" in lines else ())
    assert caught.value.location is not None
    assert caught.value.location.line == line
    assert str(caught.value).count(f"Dockerfile:{line}") == 1


def test_a_fault_of_an_unneeded_stage_is_none(workshop: Workshop) -> None:
    plan = workshop.plan("FROM base AS bad\nWORKDIR $NONE\nRUN --security=insecure x\nFROM base\n")
    assert list(plan.stages) == [1]


def test_credentials_are_not_shown(workshop: Workshop) -> None:
    lines = "FROM base\nENV A=1\nADD https://user:token@example.test/a /x\n"
    plan = workshop.plan(lines)
    assert "token" not in plan.target.steps[-1].text
    assert "token" not in str(plan.target.config.history[-1])
