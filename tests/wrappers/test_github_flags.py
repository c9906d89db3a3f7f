"""Inputs of the GitHub actions as the executor's parser gets them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from knarr_action.errors import ActionError
from knarr_action.flags import build_call, index_call
from knarr_action.inputs import Inputs
from knarr_action.runner import engine_arguments

from support.flag_values import build_flags

REPOSITORY = Path(__file__).parents[2]


def _defaults(action: str) -> dict[str, str]:
    document = yaml.safe_load((REPOSITORY / f"github-actions/{action}/action.yml").read_text())
    return {name: str(entry.get("default", "")) for name, entry in document["inputs"].items()}


def _flags(given: dict[str, str]) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    warnings: list[str] = []
    call = build_call(Inputs({**_defaults("build"), **given}), {}, warnings.append)
    assert call.arguments[0] == "build"
    return build_flags(call.arguments[1:]), warnings, dict(call.variables)


BASIS = {"context": ".", "no_push": True, "github_output": True}
CACHE = {"cache": True, "cache_repo": "r.example/a/c"}


CASES: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({}, {}),
    ({"context": "sub dir"}, {"context": "sub dir"}),
    ({"file": "docker/File"}, {"dockerfile": "docker/File"}),
    ({"target": "$(id)"}, {"target": ("$(id)",)}),
    (
        {"tags": "r.example/Team/App:V1,r.example:5/B\nc@x"},
        {"destination": ("r.example/team/app:V1", "r.example:5/b", "c@x")},
    ),
    ({"push": "true"}, {"no_push": None}),
    ({"outputs": "type=registry"}, {"no_push": None}),
    ({"outputs": "type=image,push=true"}, {"no_push": None}),
    ({"outputs": "type=docker,dest=a.tar"}, {"tar_path": "a.tar"}),
    ({"outputs": '"type=oci","tar=false","dest=a b"'}, {"oci_layout_path": "a b"}),
    ({"platforms": "linux/arm64"}, {"custom_platform": "linux/arm64"}),
    ({"build-args": "A=1,2\n  B=x y\nC"}, {"build_arg": ("A=1,2", "B=x y", "C")}),
    ({"build-contexts": "a=b"}, {"build_context": ("a=b",)}),
    ({"labels": "a=b, c\nd=e"}, {"label": ("a=b, c", "d=e")}),
    ({"annotations": "a=b"}, {"annotation": ("a=b",)}),
    ({"secret-envs": "a=B"}, {"secret": ("id=a,env=B",)}),
    ({"secret-files": "a=./b"}, {"secret": ("id=a,src=./b",)}),
    ({"ssh": "default"}, {"ssh": ("default",)}),
    ({"cache": "true", "tags": "r/a"}, {"cache": True, "destination": ("r/a",)}),
    ({"cache-repo": "r.example/a/c"}, CACHE),
    ({"cache-repo": "r.example/a/c", "cache-ttl": "1h"}, {**CACHE, "cache_ttl": "1h"}),
    ({"cache-from": "type=registry,ref=r.example/a/c:tag"}, {**CACHE, "no_push_cache": True}),
    ({"cache-to": "type=registry,ref=r.example/a/c,mode=max"}, CACHE),
    ({"cache-from": "r.example/a/c:1", "cache-to": "type=registry,ref=r.example/a/c:2"}, CACHE),
    ({"cache-to": "type=local,dest=a"}, {"cache": True, "cache_repo": "oci:a"}),
    ({"cache": "true", "no-cache": "true"}, {}),
    ({"extra-args": "--ignore-path=/a b\n--insecure"}, {"ignore_path": ("/a b",), "insecure": True}),
]
ELSEWHERE = frozenset("secrets load ca-file runner network docker-options executor-image".split())
"""Inputs about the place where the executor runs, or that have a test of their own."""


def test_no_input_is_left_out() -> None:
    assert {name for inputs, _ in CASES for name in inputs} | ELSEWHERE == set(_defaults("build"))


@pytest.mark.parametrize(("inputs", "expected"), CASES)
def test_input_gets_to_the_build(inputs: dict[str, str], expected: dict[str, Any]) -> None:
    flags, warnings, _ = _flags(inputs)
    assert flags == {name: value for name, value in {**BASIS, **expected}.items() if value is not None}
    assert warnings == []


def test_values_of_secrets_are_in_no_argument() -> None:
    flags, _, variables = _flags({"secrets": 'a=x=1,2\n"b=one\ntwo ""2"""\n'})
    assert flags["secret"] == ("id=a,env=KNARR_SECRET_0", "id=b,env=KNARR_SECRET_1")
    assert variables == {"KNARR_SECRET_0": "x=1,2", "KNARR_SECRET_1": 'one\ntwo "2"'}


def test_a_cache_that_knarr_lacks_is_a_warning() -> None:
    flags, (warning, *_), _ = _flags({"cache-from": "type=gha", "cache-to": "type=gha,mode=max"})
    assert flags == BASIS
    assert "no cache of type=gha" in warning


def test_a_second_cache_is_a_warning() -> None:
    flags, warnings, _ = _flags({"cache-from": "r.example/a/c\nr.example/d"})
    assert flags == {**BASIS, **CACHE, "no_push_cache": True}
    assert warnings == ["knarr uses one cache, r.example/a/c; r.example/d is left out"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"push": "yes"}, "the input push is 'yes'"),
        ({"platforms": "linux/amd64,linux/arm64"}, "names 2 platforms"),
        ({"context": "https://github.com/a/b.git"}, "is no directory"),
        ({"context": "{{defaultContext}}:sub"}, "is no directory"),
        ({"outputs": "type=local,dest=a"}, "knarr has no type=local,dest=a"),
        ({"outputs": "type=image,push-by-digest=true"}, "knarr has no type=image"),
        ({"outputs": "type=oci,dest=a.tar"}, "knarr has no type=oci,dest=a.tar"),
        ({"secrets": "s3cret"}, "the input secrets has an entry without a name"),
    ],
)
def test_input_that_cannot_be_used(inputs: dict[str, str], message: str) -> None:
    with pytest.raises(ActionError, match=message) as caught:
        _flags(inputs)
    assert caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_proxies_are_build_arguments() -> None:
    environment = {"HTTPS_PROXY": "http://proxy:1", "no_proxy": "a", "HTTP_PROXY": ""}
    call = build_call(Inputs(_defaults("build")), environment, print)
    assert build_flags(call.arguments[1:])["build_arg"] == ("HTTPS_PROXY", "no_proxy")


def test_index() -> None:
    given = {
        "images": "r.example/A:1,r.example/A@sha256:1",
        "tags": "r.example/A:2\nr.example/b",
        "annotations": "a=b c",
        "extra-args": "--insecure",
    }
    assert index_call(Inputs({**_defaults("index"), **given})).arguments == [
        "index",
        "r.example/a:1",
        "r.example/a@sha256:1",
        "--destination=r.example/a:2",
        "--destination=r.example/b",
        "--annotation=a=b c",
        "--github-output=true",
        "--insecure",
    ]
    with pytest.raises(ActionError, match="the input images is empty"):
        index_call(Inputs(_defaults("index")))


def test_what_docker_is_started_with(tmp_path: Path) -> None:
    given = {
        "network": "bridge",
        "docker-options": "--add-host=a:1\n--label=text=a b",
        "executor-image": "r.example/knarr:1@sha256:0",
        "ca-file": "company.pem",
        "secret-envs": "npm=TOKEN",
        "build-args": "FROM_ENV",
        "extra-args": "--digest-file=made/digest",
    }
    inputs = Inputs({**_defaults("build"), **given})
    environment = {
        "GITHUB_WORKSPACE": str(tmp_path),
        "GITHUB_OUTPUT": "/temp/output",
        "TOKEN": "s3cret",
        "FROM_ENV": "value",
        "UNRELATED": "other",
        "SSL_CERT_DIR": "/certificates",
    }
    call = build_call(inputs, environment, print)
    arguments = list(engine_arguments(call, inputs, environment, tmp_path / "scratch"))
    options, image = arguments[: arguments.index("r.example/knarr:1@sha256:0")], "r.example/knarr:1@sha256:0"
    assert options[:2] == ["run", "--rm"]
    assert set(options[2:]) == {
        "--network=bridge",
        f"--workdir={tmp_path}",
        f"--volume={tmp_path}:{tmp_path}:ro",
        f"--volume={tmp_path}/made:{tmp_path}/made:rw",
        f"--volume={tmp_path}/scratch:{tmp_path}/scratch:ro",
        "--volume=/temp/output:/temp/output:rw",
        *(
            f"--env={name}"
            for name in ("FROM_ENV", "GITHUB_OUTPUT", "GITHUB_WORKSPACE", "SSL_CERT_DIR", "TOKEN")
        ),
        "--add-host=a:1",
        "--label=text=a b",
    }
    assert arguments[len(options) :] == [image, *call.arguments]
