"""The runner of Pipelines itself: what the tests of ours rely on, and more."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.pipelinerun import COMPLETED, SKIPPED, SUCCEEDED, PipelineRunner
from support.tekton_variables import VariableError

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

MACHINERY = """\
kind: PipelineRun
spec:
  params: [{name: WORDS, value: [one, two]}]
  workspaces: [{name: shared, subPath: mine, persistentVolumeClaim: {claimName: claim}}]
  pipelineSpec:
    params:
      - {name: WORDS, type: array}
      - {name: SWITCH, default: "on"}
    workspaces:
      - name: shared
      - {name: none, optional: true}
    results:
      - {name: said, value: "$(tasks.last.results.said)"}
      - {name: list, type: array, value: ["$(tasks.first.results.list[*])", "$(tasks.each.results.word[1])"]}
      - {name: lost, value: "$(tasks.never.results.said)"}
    tasks:
      - name: last
        runAfter: [never]
        params:
          - {name: TEXT, value: "$(tasks.first.results.pair.a) $(tasks.first.results.list[1])"}
          - {name: LIST, value: ["$(tasks.each.results.word[*])", end]}
        workspaces: [{name: here, workspace: shared, subPath: deep}, {name: optional, workspace: none}]
        taskSpec:
          params: [{name: TEXT}, {name: LIST, type: array}]
          workspaces: [{name: here}, {name: optional, optional: true}]
          results: [{name: said}]
          steps:
            - name: say
              image: busybox
              command: [sh, -c, 'printf "%s" "$*" > $(results.said.path); cp $(results.said.path) said', sh]
              workingDir: $(workspaces.here.path)
              args: ["$(params.TEXT)", "$(workspaces.optional.bound)", "$(params.LIST[*])"]
      - name: each
        matrix: {params: [{name: WORD, value: ["$(params.WORDS[*])"]}, {name: MARK, value: ["!", "?"]}]}
        taskSpec: &echo
          params: [{name: WORD}, {name: MARK, default: ""}]
          results: [{name: word}, {name: said, value: "$(steps.say.results.missing)"}]
          steps:
            - name: say
              image: busybox
              command: [sh, -c, 'printf "%s" "$1" > $(results.word.path)', sh, "$(params.WORD)$(params.MARK)"]
      - name: never
        when: [{input: "$(tasks.first.results.pair.b)", operator: notin, values: [two]}]
        params: [{name: WORD, value: x}]
        taskSpec: *echo
      - name: first
        when: [{input: "$(params.SWITCH)", operator: in, values: ["on"]}]
        taskSpec:
          results: [{name: list, type: array}, {name: pair, type: object, properties: {a: {}, b: {}}}]
          steps:
            - name: write
              image: busybox
              env: [{name: LIST, value: $(results.list.path)}, {name: PAIR, value: $(results.pair.path)}]
              script: |
                #!/bin/sh
                printf '["x", "y z"]' > "$LIST"
                printf '{"a": "one", "b": "two"}' > "$PAIR"
    finally:
      - name: report
        params: [{name: WORD, value: "$(tasks.status) $(tasks.never.status) $(tasks.each.status)"}]
        taskSpec: *echo
      - name: unheard
        params: [{name: WORD, value: "$(tasks.never.results.word)"}]
        taskSpec: *echo
"""


def test_how_pipelines_are_run_here(pipelines: PipelineRunner, tmp_path: Path) -> None:
    """The order is that of the needs, not that of the text."""
    (tmp_path / "claim").mkdir()
    outcome = replace(pipelines, volumes={"claim": tmp_path / "claim"}).run(yaml.safe_load(MACHINERY))
    assert {name: each.status for name, each in outcome.tasks.items()} == {
        "first": SUCCEEDED,
        "each": SUCCEEDED,
        "never": SKIPPED,
        "last": SUCCEEDED,
        "report": SUCCEEDED,
        "unheard": SKIPPED,
    }
    said = "one y z false one! one? two! two? end"
    assert outcome.status == COMPLETED
    assert outcome.results == {"said": said, "list": ["x", "y z", "one?"]}
    assert outcome.tasks["report"].results == {"word": f"{COMPLETED} {SKIPPED} {SUCCEEDED}"}
    assert (tmp_path / "claim/mine/deep/said").read_text() == said


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("run", "timeouts", {}),
        ("run", "taskRunTemplate", {"serviceAccountName": "x"}),
        ("run", "taskRunSpecs", [{"pipelineTaskName": "none"}]),
        ("run", "workspaces", []),
        ("pipeline", "extra", []),
        ("task", "retries", 1),
        ("task", "runAfter", ["last"]),
        ("task", "matrix", {"include": []}),
        ("task", "params", [{"name": "WORD", "value": "$(tasks.first.outputs.x)"}]),
        ("task", "params", [{"name": "OTHER", "value": "x"}]),
        ("step", "onError", "continue"),
        ("step", "args", ["$(params['WORD'])"]),
    ],
)
def test_nothing_unknown_is_ignored(
    pipelines: PipelineRunner, tmp_path: Path, place: str, key: str, value: Any
) -> None:
    run = yaml.safe_load(MACHINERY)
    (tmp_path / "claim").mkdir()
    pipeline = run["spec"]["pipelineSpec"]
    tasks = {each["name"]: each for each in pipeline["tasks"]}
    owner = {
        "run": run["spec"],
        "pipeline": pipeline,
        "task": tasks["first" if key == "runAfter" else "each"],
        "step": tasks["each"]["taskSpec"]["steps"][0],
    }[place]
    owner[key] = value
    with pytest.raises((AssertionError, VariableError)):
        replace(pipelines, volumes={"claim": tmp_path / "claim"}).run(run)
