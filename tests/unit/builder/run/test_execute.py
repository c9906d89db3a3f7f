"""A plan that is carried out: layers, config, the order of what is told."""

from pathlib import Path

import pytest

from knarr.builder.request.cache_settings import CacheRules
from knarr.builder.request.snapshot_rules import SnapshotRules
from knarr.builder.roots.backend import StepCommand
from knarr.errors import ContextError, DockerfileError, IsolationError, KnarrError, RunError
from knarr.images.image import Layer
from knarr.oci.reference import Reference
from knarr.progress import BuildPlanned, StepEnded, StepFailed, StepStarted
from support.fake_backend import NO_RUN, ONE_ROOT, PLAIN
from support.memory_registry import MemoryRegistry
from support.planned_builds import OpenedBuild, Workshop

LINES = """\
FROM base AS tools
COPY tool.txt /
RUN copy /tool.txt /tool
FROM base AS idle
RUN write /idle 1
FROM base
ENV A=1
COPY app.txt /
COPY --from=tools /tool /
WORKDIR /w
RUN copy /tool /w/out
LABEL b=2
"""
FILES = {"etc/base": "base", "app.txt": "app", "tool": "tool", "w/out": "tool"}


@pytest.fixture
def files(workshop: Workshop) -> None:
    workshop.write({"tool.txt": "tool", "app.txt": "app"})


def check_nesting(told: list[str]) -> None:
    """Stages and steps end in the opposite order of their beginning, each step within its stage."""
    open_ones: list[str] = []
    for line in told:
        kind, _, name = line.rpartition(" ")
        if kind in ("stage", "step"):
            open_ones.append(line)
            if kind == "step":
                assert f"stage {name.partition('/')[0]}" in open_ones
        elif kind in ("stage ended", "step ended"):
            assert open_ones.pop() == f"{kind.partition(' ')[0]} {name}"
    assert open_ones == []


@pytest.mark.usefixtures("files")
def test_layers_and_config_of_a_build_with_stages(workshop: Workshop) -> None:
    with workshop.open(LINES, labels=(("c", "3"),)) as opened:
        image = opened.execute()
        assert opened.files(image) == FILES
        assert [sorted(layer) for layer in opened.layers(image)] == [
            ["etc/base"],
            ["app.txt"],
            ["tool"],
            [],
            ["w/out"],
        ]
    config = image.config
    assert config.diff_ids == tuple(layer.diff_id for layer in image.layers)
    assert [entry.empty_layer for entry in config.history] == [False, True, False, False, False, False, True]
    assert (config.env["A"], config.working_dir) == ("1", "/w")
    assert config.run["Labels"] == {"b": "2", "c": "3"}
    assert config.document["created"] == "2023-11-14T22:13:20Z"
    assert opened.ran == ["copy /tool.txt /tool", "copy /tool /w/out"]
    assert opened.opened == 2


@pytest.mark.usefixtures("files")
def test_the_order_of_what_is_told(workshop: Workshop) -> None:
    with workshop.open(LINES) as opened:
        opened.execute()
    assert opened.told == [
        *("stage 0", "step 0/1", "step ended 0/1", "step 0/2", "step ended 0/2", "stage ended 0"),
        *("stage 2", "step 2/1", "step ended 2/1", "step 2/2", "step ended 2/2", "step 2/3"),
        *("step ended 2/3", "step 2/4", "step ended 2/4", "step 2/5", "step ended 2/5", "step 2/6"),
        *("step ended 2/6", "stage ended 2"),
    ]
    assert [event for event in opened.events if isinstance(event, BuildPlanned)] == [BuildPlanned(2, 8)]
    steps = [event for event in opened.events if isinstance(event, StepStarted)]
    assert [(step.step, step.line, step.total) for step in steps[2:4]] == [("2/1", 7, 6), ("2/2", 8, 6)]
    ended = [event for event in opened.events if isinstance(event, StepEnded)]
    assert [event.layer_bytes is None for event in ended] == [False] * 2 + [True] + [False] * 4 + [True]


@pytest.mark.usefixtures("files")
def test_the_order_with_a_cache(workshop: Workshop) -> None:
    """A stage that must be looked into to judge a step is built before that step is said to start."""
    with workshop.open(LINES, cache=workshop.cache()) as opened:
        opened.execute()
    check_nesting(opened.told)
    assert opened.told[:9] == [
        *("stage 2", "step 2/1", "step ended 2/1", "miss 2/2", "step 2/2", "step ended 2/2"),
        *("stage 0", "miss 0/1", "step 0/1"),
    ]
    assert opened.told.index("stage ended 0") < opened.told.index("step 2/3")
    assert opened.told.index("stage ended 0") < opened.told.index("miss 2/3")


@pytest.mark.usefixtures("files")
def test_a_second_build_does_nothing(workshop: Workshop) -> None:
    with workshop.open(LINES, cache=workshop.cache()) as first:
        made = first.execute()
    with workshop.open(LINES, cache=workshop.cache()) as second:
        again = second.execute()
        assert second.files(again) == FILES
    assert (second.ran, second.opened) == ([], 0)
    assert second.judged() == dict.fromkeys(("2/2", "2/3", "2/4", "2/5"), "hit")
    assert again.config.to_bytes() == made.config.to_bytes()
    assert [layer.descriptor for layer in again.layers] == [layer.descriptor for layer in made.layers]
    check_nesting(second.told)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("edit", "ran", "missed"),
    [
        ("app.txt", ["copy /tool /w/out"], {"2/2", "2/3", "2/5"}),
        ("tool.txt", ["copy /tool.txt /tool", "copy /tool /w/out"], {"0/1", "0/2", "2/3", "2/5"}),
        ("other.txt", [], set()),
    ],
)
def test_an_edit_makes_again_what_depends_on_it(
    workshop: Workshop, edit: str, ran: list[str], missed: set[str]
) -> None:
    with workshop.open(LINES, cache=workshop.cache()) as first:
        first.execute()
    workshop.write({edit: "edited"})
    with workshop.open(LINES, cache=workshop.cache()) as second:
        image = second.execute()
        text = "edited" if edit == "tool.txt" else "tool"
        assert second.files(image)["w/out"] == text
        assert second.files(image)["app.txt"] == ("edited" if edit == "app.txt" else "app")
    assert second.ran == ran
    assert missed <= {step for step, reason in second.judged().items() if reason != "hit"}
    check_nesting(second.told)


@pytest.mark.usefixtures("files")
def test_a_source_stage_that_gives_the_same_again(workshop: Workshop) -> None:
    """Its files are known by content: who copies them hits."""
    lines = LINES.replace("FROM base AS tools\n", "FROM base AS tools\nENV B={}\n")
    with workshop.open(lines.format(1), cache=workshop.cache()) as first:
        first.execute()
    with workshop.open(lines.format(2), cache=workshop.cache()) as second:
        second.execute()
    assert second.ran == ["copy /tool.txt /tool"]
    assert second.judged()["2/3"] == second.judged()["2/5"] == "hit"


@pytest.mark.usefixtures("files")
def test_steps_that_are_not_cached_are_made_each_time(workshop: Workshop) -> None:
    cache = workshop.cache(rules=CacheRules(run_layers=False, copy_layers=True))
    with workshop.open(LINES, cache=cache) as first:
        first.execute()
    with workshop.open(LINES, cache=cache) as second:
        image = second.execute()
        assert second.files(image) == FILES
    assert second.ran == first.ran
    assert second.judged()["2/3"] == "hit"


def test_a_stage_is_known_when_its_download_is(workshop: Workshop, memory: MemoryRegistry) -> None:
    """Its key is not known ahead; from then on the cache remembers its files, and none of it is pulled."""
    memory.files["/files/f"] = b"x"
    cache = workshop.cache(Reference(memory.host, "app/cache"))
    lines = f"FROM base AS a\nADD http://{memory.host}/files/f /f\nFROM base\nCOPY --from=a /f /g\n"
    with workshop.open(lines, cache=cache) as first:
        first.execute()
    with workshop.open(lines, cache=cache) as second:
        second.execute()
    assert second.judged() == {"0/1": "hit", "1/1": "hit"}
    assert not [line for line in memory.asked if line.startswith("GET") and line[-64:] in layers_of(memory)]


def layers_of(memory: MemoryRegistry) -> set[str]:
    """The hex digits of the blobs that are no JSON."""
    return {digest[-64:] for digest, data in memory.blobs.items() if data[:1] != b"{"}


def test_what_a_step_makes_that_is_not_cached_is_read_each_time(workshop: Workshop) -> None:
    """Its stage says the same and has something else: who copies from it must not go by what was there."""
    cache = workshop.cache(rules=CacheRules(run_layers=False, copy_layers=True))
    lines = "FROM base AS a\nRUN date\nFROM base\nCOPY --from=a /date /date\n"
    for date in ("monday", "tuesday"):

        def run(root: Path, _: StepCommand, date: str = date) -> None:
            (root / "date").write_text(date)

        with workshop.open(lines, cache=cache, run=run) as opened:
            assert opened.files(opened.execute())["date"] == date


def test_a_failing_step_ends_the_build(workshop: Workshop) -> None:
    lines = "FROM base\nRUN write /a 1\nRUN fail 3\nRUN write /b 1\n"
    with workshop.open(lines) as opened:
        with pytest.raises(RunError, match=r"^Dockerfile:3: RUN fail 3: failed") as caught:
            opened.execute()
    assert (caught.value.exit_status, caught.value.line) == (3, 3)
    assert opened.ran == ["write /a 1", "fail 3"]
    assert opened.told[-1] == "step 0/2"


@pytest.mark.parametrize(
    ("lines", "failed"),
    [
        ("FROM base\nRUN fail 3\n", "0/1"),
        ("FROM base\nCOPY nosuch /\n", "0/1"),
        ("FROM base AS a\nRUN fail 3\nFROM base\nRUN write /a 1\nCOPY --from=a /etc /\n", "0/1"),
    ],
)
def test_the_step_that_failed_is_told_once_at_the_time(workshop: Workshop, lines: str, failed: str) -> None:
    with pytest.raises(KnarrError), workshop.open(lines) as opened:
        opened.execute()
    assert [each.step for each in opened.events if isinstance(each, StepFailed)] == [failed]
    assert isinstance(opened.events[-1], StepFailed)


def test_what_was_made_before_a_failure_is_kept(workshop: Workshop) -> None:
    lines = "FROM base\nRUN write /a 1\nRUN {}\n"
    with pytest.raises(RunError), workshop.open(lines.format("fail 3"), cache=workshop.cache()) as opened:
        opened.execute()
    with workshop.open(lines.format("write /b 1"), cache=workshop.cache()) as second:
        second.execute()
    assert second.ran == ["write /b 1"]


FAULTS: dict[str, tuple[str, type[KnarrError], int]] = {
    "missing source": ("FROM base\nENV A=1\nCOPY nosuch /\n", ContextError, 3),
    "missing in a stage": ("FROM base AS a\nFROM base\nCOPY --from=a /nosuch /\n", ContextError, 3),
    "unknown user": ("FROM base\nUSER nobody\nRUN write /a 1\n", ContextError, 3),
    "in a source stage": (
        "FROM base AS a\nRUN fail 3\nFROM base\nCOPY --from=a /etc /\n",
        RunError,
        2,
    ),
    "from a trigger": ("FROM base AS a\nONBUILD RUN fail 3\nFROM a\n", RunError, 3),
}


@pytest.mark.parametrize("cache", ["", "cache"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_failure_has_its_line_once(workshop: Workshop, name: str, cache: str) -> None:
    lines, kind, line = FAULTS[name]
    with workshop.open(lines, cache=workshop.cache() if cache else None) as opened:
        with pytest.raises(kind) as caught:
            opened.execute()
    assert caught.value.line == line
    assert str(caught.value).count("Dockerfile:") == 1
    assert not isinstance(caught.value, DockerfileError)


def test_a_fault_of_the_dockerfile_in_a_source_stage_has_its_own_place(workshop: Workshop) -> None:
    lines = "FROM base AS a\nRUN --mount=target=. write /x 1\nFROM base\nCOPY --from=a /x /\n"
    with workshop.open(lines, cache=workshop.cache()) as opened:
        with pytest.raises(DockerfileError, match="invalid mount target") as caught:
            opened.execute()
    assert caught.value.location is not None
    assert caught.value.location.line == 2
    assert str(caught.value).count("Dockerfile:") == 1


def test_a_step_that_cannot_run_is_refused_before_any_work(workshop: Workshop) -> None:
    lines = "FROM base\nCOPY <<f /f\nx\nf\nRUN write /a 1\n"
    with workshop.open(lines, abilities=NO_RUN) as opened:
        with pytest.raises(IsolationError, match="Dockerfile:5") as caught:
            opened.execute()
    assert caught.value.line == 5
    assert opened.told == []


@pytest.mark.usefixtures("files")
def test_without_isolation_all_comes_from_the_cache(workshop: Workshop) -> None:
    with workshop.open(LINES, cache=workshop.cache()) as first:
        first.execute()
    with workshop.open(LINES, cache=workshop.cache(), abilities=NO_RUN) as second:
        assert second.files(second.execute()) == FILES


@pytest.mark.usefixtures("files")
def test_steps_take_files_of_mounts(workshop: Workshop) -> None:
    lines = (
        "FROM base AS tools\nRUN write /bin/tool 1\nFROM base\n"
        "RUN --mount=target=/m copy /m/app.txt /app\n"
        "RUN --mount=from=tools,source=/bin,target=/m copy /m/tool /tool\n"
        "RUN --mount=from=base,source=/etc,target=/m copy /m/base /base\n"
    )
    for abilities in (PLAIN, ONE_ROOT):
        with workshop.open(lines, abilities=abilities) as opened:
            image = opened.execute()
            made = {"app": "app", "tool": "1", "base": "base"}
            assert opened.files(image) == {"etc/base": "base", **made}


def test_a_copy_of_an_image_opens_no_directory(workshop: Workshop) -> None:
    lines = "FROM scratch\nCOPY --from=base /etc/base /a\nCOPY --from=base /etc /b/\n"
    with workshop.open(lines, abilities=NO_RUN) as opened:
        assert opened.files(opened.execute()) == {"a": "base", "b/base": "base"}


def test_ignored_changes_are_left_out(workshop: Workshop) -> None:
    rules = SnapshotRules.of(["/tmp"], hash_content=False)
    with workshop.open("FROM base\nRUN write /tmp/a 1\nRUN write /b 1\n", snapshots=rules) as opened:
        image = opened.execute()
        assert opened.files(image) == {"etc/base": "base", "b": "1"}


def test_an_unknown_owner_is_warned_of(workshop: Workshop) -> None:
    with workshop.open("FROM base\nCOPY --chown=nobody <<f /f\nx\nf\n") as opened:
        opened.execute()
    assert len(opened.warnings) == 1
    assert "--chown=nobody" in opened.warnings[0]


def published(opened: OpenedBuild, monkeypatch: pytest.MonkeyPatch) -> list[Layer]:
    """What `execute` publishes from now on."""
    layers: list[Layer] = []
    pusher = opened.build.tools.pusher
    monkeypatch.setattr(pusher, "submit", lambda layer, _: layers.append(layer))
    return layers


@pytest.mark.usefixtures("files")
def test_the_layers_of_the_image_are_published_in_order(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = LINES.replace("FROM base\n", "FROM tools\n")
    for _ in range(2):
        with workshop.open(lines, cache=workshop.cache()) as opened:
            layers = published(opened, monkeypatch)
            image = opened.execute()
            assert layers == list(image.layers)


@pytest.mark.usefixtures("files")
def test_several_targets_are_built_and_the_first_is_the_image(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workshop.open(LINES, targets=("tools", "idle", "2")) as opened:
        layers = published(opened, monkeypatch)
        image = opened.execute()
        assert opened.files(image) == {"etc/base": "base", "tool.txt": "tool", "tool": "tool"}
        assert layers == list(image.layers)
    assert sorted(opened.ran) == ["copy /tool /w/out", "copy /tool.txt /tool", "write /idle 1"]


@pytest.mark.usefixtures("files")
def test_a_single_snapshot_is_one_layer_on_the_base(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = LINES + "RUN remove /app.txt\n"
    with workshop.open(lines, single_snapshot=True) as opened:
        layers = published(opened, monkeypatch)
        image = opened.execute()
        names = [sorted(layer) for layer in opened.layers(image)]
        assert names == [["etc/base"], [".wh.app.txt", "tool", "w/out"]]
        assert opened.files(image) == {name: text for name, text in FILES.items() if name != "app.txt"}
    assert layers == []
    assert image.config.diff_ids == tuple(layer.diff_id for layer in image.layers)
    assert [entry.empty_layer for entry in image.config.history].count(False) == 2
