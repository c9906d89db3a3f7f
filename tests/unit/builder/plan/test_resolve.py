"""The plan of a build: which stages, which steps, what they start from and end with."""

import dataclasses

import pytest

from knarr.builder.plan.plan import Plan
from knarr.builder.plan.steps import AddStep, CopyStep, RunStep, WorkdirStep
from knarr.builder.request.contexts import LayoutContext
from support.image_layout import Member
from support.memory_registry import MemoryRegistry
from support.planned_builds import CREATED_S, Workshop
from support.planned_keys import AMD64, write_base

CREATED = "2023-11-14T22:13:20Z"

STAGES = """\
FROM base AS tools
RUN write /tool 1
FROM 127.0.0.1:1/nothing AS unneeded
COPY --from=127.0.0.1:1/nothing-either / /
RUN --mount=from=127.0.0.1:1/nor-this,target=/x true
FROM tools AS middle
RUN write /middle 1
FROM base
COPY --from=tools /tool /
COPY --from=middle /middle /
"""


def ids(plan: Plan) -> list[str]:
    return [step.id for stage in plan.stages.values() for step in stage.steps]


def with_base(workshop: Workshop, name: str, **config: object) -> None:
    """Add a base with this run configuration."""
    layout = write_base(workshop.place / name, [Member(name, content=b"x")], config=config)
    workshop.contexts[name] = LayoutContext(layout)


def test_only_the_stages_that_are_needed(workshop: Workshop) -> None:
    plan = workshop.plan(STAGES)
    assert list(plan.stages) == [0, 2, 3]
    assert {index: (stage.id, stage.name, stage.parent) for index, stage in plan.stages.items()} == {
        0: ("0", "tools", None),
        2: ("2", "middle", 0),
        3: ("3", "stage-3", None),
    }
    assert plan.targets == (3,)
    assert plan.target is plan.stages[3]
    assert plan.images == {}
    assert ids(plan) == ["0/1", "2/1", "3/1", "3/2"]
    assert plan.step_count == 4
    assert [stage.index for stage in plan.chain(2)] == [2, 0]
    assert [list(step.source_stages) for step in plan.target.steps] == [[0], [2]]


def test_no_image_of_an_unneeded_stage_is_looked_up(workshop: Workshop, memory: MemoryRegistry) -> None:
    lines = f"FROM {memory.host}/a\nCOPY --from={memory.host}/b / /\nFROM base\nRUN write /x 1\n"
    workshop.plan(lines)
    assert memory.asked == []


def test_several_targets(workshop: Workshop) -> None:
    lines = "FROM base AS a\nFROM base AS b\nFROM base AS c\nFROM b AS d\n"
    plan = workshop.plan(lines, targets=("d", "A", "2"))
    assert plan.targets == (3, 0, 2)
    assert list(plan.stages) == [0, 1, 2, 3]
    assert plan.target.name == "d"


def test_a_plan_is_not_changed(workshop: Workshop) -> None:
    plan = workshop.plan("FROM base\nRUN write /x 1\n")
    for value, name in ((plan, "targets"), (plan.target, "steps"), (plan.target.steps[0], "config")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, ())


def test_the_config_after_each_step(workshop: Workshop) -> None:
    with_base(workshop, "rich", Env=["PATH=/bin", "A=old"], Cmd=["/old"], User="5", WorkingDir="/w")
    lines = 'FROM rich\nENV A=new\nWORKDIR sub\nENTRYPOINT ["/tool"]\nUSER 7\n'
    stage = workshop.plan(lines).target
    env = [step.config.env["A"] for step in stage.steps]
    assert (stage.first_config.env["A"], env) == ("old", ["new"] * 4)
    assert [step.config.working_dir for step in stage.steps] == ["/w", "/w/sub", "/w/sub", "/w/sub"]
    assert [step.config.run.get("Cmd") for step in stage.steps] == [["/old"], ["/old"], None, None]
    assert [step.config.user for step in stage.steps] == ["5", "5", "5", "7"]
    assert stage.config is stage.steps[-1].config
    assert stage.config.diff_ids == stage.base.config.diff_ids


def test_the_history_has_layers_and_empty_ones(workshop: Workshop) -> None:
    workshop.write({"f": "f"})
    lines = 'FROM base\nENV A=1\nCOPY f /\nWORKDIR /w\nWORKDIR /\nRUN write /x 1\nCMD ["/x"]\n'
    stage = workshop.plan(lines).target
    history = stage.config.history[1:]
    assert [(each.created_by, each.empty_layer) for each in history] == [
        ("ENV A=1", True),
        ("COPY f / # buildkit", False),
        ("WORKDIR /w", False),
        ("WORKDIR /", True),
        ("RUN /bin/sh -c write /x 1 # buildkit", False),
        ('CMD ["/x"]', True),
    ]
    assert {each.created for each in history} == {CREATED}
    assert [len(step.config.history) for step in stage.steps] == [2, 3, 4, 5, 6, 7]
    kinds = [type(step.layer) for step in stage.steps]
    assert kinds == [type(None), CopyStep, WorkdirStep, type(None), RunStep, type(None)]


def test_triggers_of_a_base_image_come_first(workshop: Workshop) -> None:
    with_base(workshop, "onbuild", OnBuild=["ENV A=1", "COPY --from=tools /tool /"])
    lines = "FROM base AS tools\nRUN write /tool 1\nFROM onbuild\nRUN write /x 1\n"
    plan = workshop.plan(lines)
    assert list(plan.stages) == [0, 1]
    assert ids(plan) == ["0/1", "1/1", "1/2", "1/3"]
    assert [step.number for step in plan.target.steps] == [1, 2, 3]
    assert plan.target.first_config.onbuild == ()
    assert [step.text for step in plan.target.steps][:2] == ["ENV A=1", "COPY --from=tools /tool /"]


def test_triggers_of_a_stage(workshop: Workshop) -> None:
    plan = workshop.plan("FROM base AS a\nONBUILD ENV A=1\nFROM a\nRUN write /x 1\n")
    assert [step.text for step in plan.target.steps] == ["ENV A=1", "RUN write /x 1"]
    assert plan.stages[0].config.onbuild == ("ENV A=1",)
    assert plan.target.config.onbuild == ()


def test_a_stage_goes_on_with_the_config_and_names_of_the_one_below(workshop: Workshop) -> None:
    lines = "FROM base AS a\nARG X=1\nENV Y=$X\nFROM a\nENV Z=$Y$X\n"
    plan = workshop.plan(lines)
    assert plan.target.config.env["Z"] == "11"
    assert plan.target.base is plan.stages[0].base
    assert [entry.created_by for entry in plan.target.config.history[1:]] == [
        "ARG X=1",
        "ENV Y=1",
        "ENV Z=11",
    ]


def test_a_named_context_replaces_a_stage(workshop: Workshop) -> None:
    workshop.contexts["tools"] = workshop.contexts["base"]
    plan = workshop.plan(STAGES.replace("AS middle", "AS tools2"), targets=("tools2",))
    assert plan.stages[0].steps == ()
    assert len(plan.stages[0].base.layers) == 1


def test_scratch_has_nothing(workshop: Workshop) -> None:
    stage = workshop.plan("FROM scratch\nADD <<f /\nx\nf\n").target
    assert (stage.base.layers, stage.first_config.platform) == ((), AMD64)
    assert isinstance(stage.steps[0].layer, AddStep)


def test_labels_and_time_of_the_finished_image(workshop: Workshop) -> None:
    plan = workshop.plan("FROM base\nLABEL a=1 b=2\n", labels=(("b", "flag"), ("c", "3")))
    image = plan.finished(plan.target.image(plan.target.base.layers))
    assert image.config.run["Labels"] == {"a": "1", "b": "flag", "c": "3"}
    assert image.config.document["created"] == CREATED
    assert plan.target.config.run["Labels"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("first_line", "changes", "created_s"),
    [
        ("", {}, CREATED_S),
        ("", {"build_args": {"SOURCE_DATE_EPOCH": "7"}}, 7),
        ("ARG SOURCE_DATE_EPOCH=8", {}, 8),
        ("ARG SOURCE_DATE_EPOCH=8", {"build_args": {"SOURCE_DATE_EPOCH": "7"}}, 7),
        ("ARG SOURCE_DATE_EPOCH=8", {"build_args": {"SOURCE_DATE_EPOCH": ""}}, CREATED_S),
        ("ARG SOURCE_DATE_EPOCH=8", {"reproducible": True}, 8),
        ("", {"reproducible": True}, 0),
        ("", {"reproducible": True, "build_args": {"SOURCE_DATE_EPOCH": ""}}, 0),
    ],
)
def test_the_time_of_a_build(
    workshop: Workshop, first_line: str, changes: dict[str, object], created_s: int
) -> None:
    plan = workshop.plan(f"{first_line}\nFROM base\nCOPY <<f /\nx\nf\nWORKDIR /w\n", **changes)
    copy, workdir = plan.target.steps
    assert isinstance(copy.layer, CopyStep)
    assert isinstance(workdir.layer, WorkdirStep)
    assert plan.created_s == created_s
    assert (copy.layer.request.created_ns, workdir.layer.created_ns) == (created_s * 10**9,) * 2
    assert (plan.target.config.history[-1].created == CREATED) == (created_s == CREATED_S)


def test_a_copy_has_its_paths_with_variables_replaced(workshop: Workshop) -> None:
    workshop.write({"d/f": "f"})
    plan = workshop.plan("FROM base\nENV D=d\nWORKDIR /w\nCOPY --chown=5:6 --chmod=700 $D/f to/\n")
    step = plan.target.steps[-1].layer
    assert isinstance(step, CopyStep)
    assert (step.request.dest, step.request.sources, step.chown) == ("/w/to/", ("d/f",), "5:6")
    assert step.origins == (None,)
