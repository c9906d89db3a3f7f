"""Parameters of the Tekton Tasks as the executor's parser gets them."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from knarr.errors import UsageError
from support.flag_values import build_flags, index_flags, warm_flags
from support.taskrun import given_params, load_task
from support.tekton_files import TASKS
from support.tekton_variables import Value, expanded, replaced

BUILD, INDEX, WARM = (
    load_task(TASKS / f"{name}/0.1/{name}.yaml") for name in ("knarr-build", "knarr-index", "knarr-warm")
)
READERS = {"build": build_flags, "index": index_flags, "warm": warm_flags}
NAMED: Mapping[str, Value] = {"IMAGE": "r.example/a:1"}
INDEXED: Mapping[str, Value] = {**NAMED, "IMAGES": ["r.example/a@sha256:1"]}
ELSEWHERE = frozenset({"BUILDER_IMAGE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "KNARR_DIR"})
"""Parameters that are the step's image and its environment."""


def _step(task: Mapping[str, Any], params: Mapping[str, Value], bound: frozenset[str] = frozenset()) -> Any:
    variables = dict(given_params(task, params))
    for each in task.get("workspaces", []):
        path = each.get("mountPath", f"/workspace/{each['name']}")
        is_there = each["name"] in bound or not each.get("optional")
        variables[f"workspaces.{each['name']}.path"] = path if is_there else ""
    for each in task.get("results", []):
        variables[f"results.{each['name']}.path"] = f"/tekton/results/{each['name']}"
    (step,) = replaced(task["steps"], variables)
    return step


def _is_array(param: Mapping[str, Any]) -> bool:
    return bool(param.get("type") == "array")


def _flags(task: Mapping[str, Any], params: Mapping[str, Value]) -> dict[str, Any]:
    command, *arguments = _step(task, params)["args"]
    return READERS[command](arguments)


CASES: list[tuple[Mapping[str, Any], dict[str, Value], dict[str, Any]]] = [
    (BUILD, {"TAGS": ["two", "-x"]}, {"extra_tag": ("two", "-x")}),
    (BUILD, {"DOCKERFILE": "docker/$(id)"}, {"dockerfile": "docker/$(id)"}),
    (BUILD, {"CONTEXT": "sub dir"}, {"context": "/workspace/source/sub dir"}),
    (BUILD, {"CONTEXT_SUB_PATH": "a b"}, {"context_sub_path": "a b"}),
    (
        BUILD,
        {"BUILD_ARGS": ["A=1 2", "B=--end"]},
        {"build_arg": ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "A=1 2", "B=--end")},
    ),
    (BUILD, {"LABELS": ["a=b c", "d=--e"]}, {"label": ("a=b c", "d=--e")}),
    (BUILD, {"ANNOTATIONS": ["a=b c"]}, {"annotation": ("a=b c",)}),
    (BUILD, {"TARGET": "`id`"}, {"target": ("`id`",)}),
    (BUILD, {"PLATFORM": "linux/arm64"}, {"custom_platform": "linux/arm64"}),
    (BUILD, {"NO_PUSH": "true"}, {"no_push": True}),
    (BUILD, {"SKIP_PUSH": "true"}, {"skip_push": True}),
    (BUILD, {"PUSH_BY_DIGEST": "true"}, {"push_by_digest": True}),
    (BUILD, {"TLSVERIFY": "false"}, {"tls_verify": False}),
    (BUILD, {"FORMAT": "docker"}, {"image_format": "docker"}),
    (BUILD, {"KANIKO_DIR": "/a b"}, {"kaniko_dir": "/a b"}),
    (BUILD, {"BUILD_EXTRA_ARGS": "--a b"}, {"build_extra_args": "--a b"}),
    (BUILD, {"PUSH_EXTRA_ARGS": "--a b"}, {"push_extra_args": "--a b"}),
    (BUILD, {"OCI_LAYOUT": "a b"}, {"oci_layout_path": "a b"}),
    (BUILD, {"CACHE": "true"}, {"cache": True}),
    (BUILD, {"CACHE_REPO": "r.example/c"}, {"cache_repo": "r.example/c"}),
    (BUILD, {"CACHE_TTL": "12h"}, {"cache_ttl": "12h"}),
    (BUILD, {"CACHE_COPY_LAYERS": "true"}, {"cache_copy_layers": True}),
    (BUILD, {"SECRETS": ["id=a,src=/kaniko/secrets/a b"]}, {"secret": ("id=a,src=/kaniko/secrets/a b",)}),
    (BUILD, {"REGISTRY_MIRRORS": ["m.example/hub"]}, {"registry_mirror": ("m.example/hub",)}),
    (BUILD, {"REGISTRY_MAPS": ["a=b"]}, {"registry_map": ("a=b",)}),
    (BUILD, {"INSECURE_REGISTRIES": ["a:1", "b"]}, {"insecure_registry": ("a:1", "b")}),
    (BUILD, {"SKIP_TLS_VERIFY_REGISTRIES": ["a:1"]}, {"skip_tls_verify_registry": ("a:1",)}),
    (BUILD, {"SNAPSHOT_MODE": "redo"}, {"snapshot_mode": "redo"}),
    (BUILD, {"COMPRESSION": "zstd"}, {"compression": "zstd"}),
    (BUILD, {"COMPRESSION_LEVEL": "7"}, {"compression_level": "7"}),
    (BUILD, {"IMAGE_FORMAT": "docker"}, {"image_format": "docker"}),
    (BUILD, {"REPRODUCIBLE": "true"}, {"reproducible": True}),
    (BUILD, {"VERBOSITY": "debug"}, {"verbosity": "debug"}),
    (BUILD, {"EXTRA_ARGS": ["--ignore-path=/a b", "--force"]}, {"ignore_path": ("/a b",), "force": True}),
    (BUILD, {"IMAGE": "r.example/b"}, {"destination": ("r.example/b",)}),
    (INDEX, {"IMAGE": "r.example/b"}, {"destination": ("r.example/b",)}),
    (INDEX, {"IMAGES": ["r.example/c", "r.example/d"]}, {"image": ("r.example/c", "r.example/d")}),
    (INDEX, {"TAGS": ["two"]}, {"extra_tag": ("two",)}),
    (INDEX, {"ANNOTATIONS": ["a=b c"]}, {"annotation": ("a=b c",)}),
    (INDEX, {"PREFER_INDEX": "false"}, {"prefer_index": False}),
    (INDEX, {"INSECURE_REGISTRIES": ["a:1"]}, {"insecure_registry": ("a:1",)}),
    (INDEX, {"SKIP_TLS_VERIFY_REGISTRIES": ["a:1"]}, {"skip_tls_verify_registry": ("a:1",)}),
    (INDEX, {"VERBOSITY": "debug"}, {"verbosity": "debug"}),
    (INDEX, {"EXTRA_ARGS": ["--push-retry=3"]}, {"push_retry": "3"}),
    (WARM, {"IMAGES": ["r.example/c", "d"]}, {"image": ("r.example/c", "d")}),
    (WARM, {"DOCKERFILE": "a b"}, {"dockerfile": "a b"}),
    (WARM, {"BUILD_ARGS": ["A=b c"]}, {"build_arg": ("A=b c",)}),
    (WARM, {"PLATFORM": "linux/arm64"}, {"custom_platform": "linux/arm64"}),
    (WARM, {"FORCE": "true"}, {"force": True}),
    (WARM, {"CACHE_TTL": "6h"}, {"cache_ttl": "6h"}),
    (WARM, {"REGISTRY_MIRRORS": ["m.example/hub"]}, {"registry_mirror": ("m.example/hub",)}),
    (WARM, {"REGISTRY_MAPS": ["a=b"]}, {"registry_map": ("a=b",)}),
    (WARM, {"INSECURE_REGISTRIES": ["a:1"]}, {"insecure_registry": ("a:1",)}),
    (WARM, {"SKIP_TLS_VERIFY_REGISTRIES": ["a:1"]}, {"skip_tls_verify_registry": ("a:1",)}),
    (WARM, {"VERBOSITY": "debug"}, {"verbosity": "debug"}),
    (WARM, {"EXTRA_ARGS": ["--image-download-retry=3"]}, {"image_download_retry": "3"}),
]
GIVEN = {id(BUILD): NAMED, id(INDEX): INDEXED, id(WARM): {}}


@pytest.mark.parametrize(("task", "params", "expected"), CASES)
def test_parameter_gets_to_the_executor(
    task: Mapping[str, Any], params: dict[str, Value], expected: dict[str, Any]
) -> None:
    """And changes that flag alone."""
    plain = _flags(task, GIVEN[id(task)])
    assert all(plain.get(name) != value for name, value in expected.items())
    assert _flags(task, {**GIVEN[id(task)], **params}) == {**plain, **expected}


@pytest.mark.parametrize("task", [BUILD, INDEX, WARM])
def test_no_parameter_is_left_out(task: Mapping[str, Any]) -> None:
    covered = {name for other, params, _ in CASES if other is task for name in params}
    names = {each["name"] for each in task["params"]}
    assert covered | ELSEWHERE >= names
    environment = {each["value"] for each in _written(task)["env"]}
    assert {f"$(params.{name})" for name in ELSEWHERE & names - {"BUILDER_IMAGE"}} <= environment


def _written(task: Mapping[str, Any]) -> Mapping[str, Any]:
    (step,) = task["steps"]
    assert step["image"] == "$(params.BUILDER_IMAGE)"
    found: Mapping[str, Any] = step
    return found


def test_the_defaults_of_a_build() -> None:
    assert _flags(BUILD, NAMED) == {
        "context": "/workspace/source/./",
        "dockerfile": "./Dockerfile",
        "destination": ("r.example/a:1",),
        "build_arg": ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        "result_file": tuple(
            f"{name}=/tekton/results/{name}" for name in ("IMAGE_URL", "IMAGE_DIGEST", "IMAGE_REF", "IMAGES")
        ),
    }


def test_the_cache_workspace_gets_to_the_build() -> None:
    assert "--cache-dir=/cache" in _step(BUILD, NAMED, frozenset({"cache"}))["args"]
    assert "--cache-dir=" in _step(BUILD, NAMED)["args"]
    assert "--cache-dir=/cache" in _step(WARM, {})["args"]


def test_extra_arguments_win() -> None:
    flags = _flags(BUILD, {**NAMED, "TARGET": "one", "CACHE": "true", "EXTRA_ARGS": ["--cache=false"]})
    assert "cache" not in flags


ARRAYS = [(task, each["name"]) for task in (BUILD, INDEX, WARM) for each in task["params"] if _is_array(each)]
TEXTS = [
    (task, each["name"])
    for task in (BUILD, INDEX, WARM)
    for each in task["params"]
    if not _is_array(each) and each["name"] not in ELSEWHERE
]


ANOTHER = "--destination=evil"


@pytest.mark.parametrize("flags", [[ANOTHER], ["-devil"], ["--help"], ["--", "x"]])
@pytest.mark.parametrize(("task", "name"), [each for each in ARRAYS if each[1] != "EXTRA_ARGS"])
def test_no_value_of_an_array_is_a_flag(task: Mapping[str, Any], name: str, flags: list[str]) -> None:
    """It changes nothing but the flag of its parameter."""
    before, plain = _flags(task, GIVEN[id(task)]), _flags(task, {**GIVEN[id(task)], name: ["x"]})
    found = _flags(task, {**GIVEN[id(task)], name: flags})
    (flag,) = (key for key, value in plain.items() if before.get(key) != value)
    assert {key for key in found if found[key] != plain.get(key)} == {flag}
    assert list(found[flag])[-len(flags) :] == flags


@pytest.mark.parametrize(
    "flags", [["--end", ANOTHER], [ANOTHER, "--end"], ["a", "--end", ANOTHER, "--labels"]]
)
@pytest.mark.parametrize(
    ("task", "name"), [each for each in ARRAYS if each[1] != "EXTRA_ARGS" and each != (INDEX, "IMAGES")]
)
def test_no_value_ends_its_list(task: Mapping[str, Any], name: str, flags: list[str]) -> None:
    with pytest.raises(UsageError, match="a value of a list is --end"):
        _flags(task, {**GIVEN[id(task)], name: flags})


@pytest.mark.parametrize(("task", "name"), ARRAYS)
def test_nobody_says_where_the_flags_of_others_begin(task: Mapping[str, Any], name: str) -> None:
    """Else an array could hold a second set of lists, with the right number of ends."""
    with pytest.raises(UsageError, match="a value of a list is --extra-args"):
        _flags(task, {**GIVEN[id(task)], name: ["--end", "--extra-args", "--destination=evil"]})


@pytest.mark.parametrize(("task", "name"), TEXTS)
def test_no_text_is_a_flag(task: Mapping[str, Any], name: str) -> None:
    """A text stands behind its flag's equals sign, in the same argument."""
    given = GIVEN[id(task)]
    plain = _step(task, given)["args"]
    for text in ("--end", "--destination=evil", "a\n--destination=evil", "--extra-args"):
        found = _step(task, {**given, name: text})["args"]
        differing = [(old, new) for old, new in zip(plain, found, strict=True) if old != new]
        assert len(differing) == 1
        assert all(new.startswith("--") and new.partition("=")[2].endswith(text) for _, new in differing)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CACHE", "--cache takes a boolean, got 'yes'"),
        ("NO_PUSH", "--no-push takes a boolean, got 'yes'"),
        ("SKIP_PUSH", "--skip-push takes a boolean, got 'yes'"),
        ("TLSVERIFY", "--tls-verify takes a boolean, got 'yes'"),
    ],
)
def test_a_switch_that_is_none_is_told_by_name(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _flags(BUILD, {**NAMED, name: "yes"})


def test_a_step_has_no_variable_that_everybody_knows() -> None:
    """Kubernetes replaces $(NAME) in arguments for each variable of the step, whoever wrote it."""
    known = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "DOCKER_CONFIG", "SSL_CERT_DIR"}
    for task in (BUILD, INDEX, WARM):
        step = _written(task)
        assert not known & {each["name"] for each in step["env"]}
        value = "a$(HTTP_PROXY)b$(DOCKER_CONFIG)"
        variables = {each["name"]: each["value"] for each in _step(task, GIVEN[id(task)])["env"]}
        name = {id(BUILD): "LABELS", id(INDEX): "ANNOTATIONS", id(WARM): "BUILD_ARGS"}[id(task)]
        arguments = _step(task, {**GIVEN[id(task)], name: [f"k={value}"]})["args"]
        assert f"k={value}" in [expanded(each, variables) for each in arguments]


def test_the_parameters_of_buildah() -> None:
    """All that its Task 0.9 declares, but for STORAGE_DRIVER, which no image shows. Tekton drops others."""
    names = {each["name"] for each in BUILD["params"]}
    assert set("IMAGE BUILDER_IMAGE DOCKERFILE CONTEXT TLSVERIFY FORMAT BUILD_EXTRA_ARGS".split()) <= names
    assert set("PUSH_EXTRA_ARGS SKIP_PUSH BUILD_ARGS".split()) <= names


def test_a_task_reference_can_be_swapped() -> None:
    """What a run of the catalog's kaniko Task, 0.6 to 1.0, gives and takes: names, types, defaults."""
    params = {each["name"]: (each.get("type", "string"), each.get("default")) for each in BUILD["params"]}
    of_kaniko: dict[str, Any] = {
        "IMAGE": ("string", None),
        "DOCKERFILE": ("string", "./Dockerfile"),
        "CONTEXT": ("string", "./"),
        "EXTRA_ARGS": ("array", []),
    }
    assert {name: params[name] for name in of_kaniko} == of_kaniko
    assert {"BUILDER_IMAGE", "KANIKO_DIR"} <= set(params)
    assert [name for name, (_, default) in params.items() if default is None] == ["IMAGE"]
    workspaces = {each["name"]: each.get("optional", False) for each in BUILD["workspaces"]}
    assert [name for name, optional in workspaces.items() if not optional] == ["source"]
    assert "dockerconfig" in workspaces
    source = next(each for each in BUILD["workspaces"] if each["name"] == "source")
    assert "mountPath" not in source, "paths below /workspace/source, Tekton's own, stay what they are"
    assert {"IMAGE_DIGEST", "IMAGE_URL"} <= {each["name"] for each in BUILD["results"]}


def test_a_step_action_reference_can_be_swapped() -> None:
    """What the catalog's StepAction of kaniko 1.0 takes: names, which are required, defaults."""
    path = TASKS / "stepactions/knarr-build/0.1/knarr-build.yaml"
    spec = yaml.safe_load(path.read_text())["spec"]
    params = {each["name"]: each.get("default") for each in spec["params"]}
    of_kaniko: dict[str, Any] = {
        "source-path": None,
        "dockerconfig-path": "",
        "IMAGE": None,
        "DOCKERFILE": "./Dockerfile",
        "CONTEXT": "./",
        "EXTRA_ARGS": [],
    }
    assert {name: params[name] for name in of_kaniko} == of_kaniko
    assert {"BUILDER_IMAGE", "KANIKO_DIR"} <= set(params)
    assert [name for name, default in params.items() if default is None] == ["IMAGE", "source-path"]
    assert {"IMAGE_DIGEST", "IMAGE_URL"} <= {each["name"] for each in spec["results"]}
