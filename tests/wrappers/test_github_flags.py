"""Inputs of the GitHub actions as the executor's parser gets them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from knarr_action.errors import ActionError
from knarr_action.flags import build_call, index_call
from knarr_action.inputs import Inputs

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
    ({"labels": "a=b, c\nd=e\nf"}, {"label": ("a=b, c", "d=e", "f=")}),
    ({"labels": '"t=one, two\nthree"'}, {"label": ("t=one, two\nthree",)}),
    ({"build-args": '"A=one\n""two"""\nB={"c":1,"d":2}'}, {"build_arg": ('A=one\n"two"', 'B={"c":1,"d":2}')}),
    ({"annotations": "a=b"}, {"annotation": ("a=b",)}),
    ({"secret-envs": "a=B,c=D"}, {"secret": ("id=a,env=B", "id=c,env=D")}),
    ({"secret-files": f"a={__file__}"}, {"secret": (f"id=a,src={__file__}",)}),
    ({"ssh": "default,a=/b"}, {"ssh": ("default", "a=/b")}),
    ({"provenance": "false", "sbom": "false", "attests": "type=sbom,disabled=true"}, {}),
    ({"allow": "network.host", "call": "build", "builder": "b", "pull": "true", "github-token": "t"}, {}),
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
GIVEN: list[tuple[dict[str, str], list[str]]] = [
    (
        {"add-hosts": "a:1.2.3.4,b:::1\nc=5.6.7.8"},
        ["--add-host=a:1.2.3.4", "--add-host=b:::1", "--add-host=c=5.6.7.8"],
    ),
    ({"network": "none"}, ["--network=none"]),
    ({"no-cache-filters": "one,two"}, ["--no-cache-filter=one", "--no-cache-filter=two"]),
    (
        {"shm-size": "1g", "ulimit": "nofile=1:2\nnproc=3"},
        ["--ulimit=nofile=1:2", "--ulimit=nproc=3", "--shm-size=1g"],
    ),
    ({"outputs": "type=local,dest=a"}, ["--no-push=true", "--output=type=local,dest=a"]),
    ({"outputs": "a"}, ["--no-push=true", "--output=type=local,dest=a"]),
    ({"outputs": "type=oci,dest=a.tar"}, ["--no-push=true", "--output=type=oci,dest=a.tar"]),
    (
        {"outputs": "type=docker,dest=a\ntype=docker,dest=b"},
        ["--no-push=true", "--output=type=docker,dest=a", "--output=type=docker,dest=b"],
    ),
    (
        {"outputs": 'type=image,"name=R.example/A:X,r.example/b",push-by-digest=true,push=true'},
        ['--output=type=image,"name=r.example/a:X,r.example/b",push-by-digest=true,push=true'],
    ),
    (
        {"outputs": "Type=image,push-by-digest=true", "push": "true"},
        ["--output=type=image,push-by-digest=true,push=true"],
    ),
    ({"outputs": "type=image,push=false,x=y"}, ["--output=type=image,push=false,x=y"]),
    ({"outputs": "type=image"}, ["--no-push=true"]),
    (
        {"annotations": "manifest:a=b\nmanifest[linux/amd64]:a=c\nindex:a=b\nindex:d=e:f"},
        [
            "--annotation=manifest,index:a=b",
            "--annotation=manifest[linux/amd64]:a=c",
            "--annotation=index:d=e:f",
        ],
    ),
    (
        {"cache-from": "type=local,src=a", "cache-to": "type=local,dest=b,mode=max"},
        ["--cache=true", "--cache-repo=oci:b", "--cache-from=oci:a", "--cache-ttl="],
    ),
    (
        {"cache-from": "r.example/a:1,r.example/b\nr.example/a:2"},
        [
            "--cache=true",
            "--cache-repo=r.example/a",
            "--cache-from=r.example/b",
            "--cache-ttl=",
            "--no-push-cache=true",
        ],
    ),
]
"""Inputs whose flags are looked at as they are."""
ELSEWHERE = frozenset("secrets load ca-file runner docker-options executor-image cgroup-parent".split())
"""Inputs about the place where the executor runs, or that have a test of their own."""


def test_no_input_is_left_out() -> None:
    assert {name for inputs, _ in [*CASES, *GIVEN] for name in inputs} | ELSEWHERE == set(_defaults("build"))


def test_no_input_of_docker_is_unknown() -> None:
    """GitHub only warns of inputs that an action does not declare, and hands none of them over."""
    of_docker = (  # docker/build-push-action 7
        "add-hosts allow annotations attests build-args build-contexts builder cache-from cache-to call "
        "cgroup-parent context file github-token labels load network no-cache no-cache-filters outputs "
        "platforms provenance pull push sbom secret-envs secret-files secrets shm-size ssh tags target ulimit"
    )
    assert set(of_docker.split()) <= set(_defaults("build"))


@pytest.mark.parametrize(("inputs", "expected"), CASES)
def test_input_gets_to_the_build(inputs: dict[str, str], expected: dict[str, Any]) -> None:
    flags, warnings, _ = _flags(inputs)
    assert flags == {name: value for name, value in {**BASIS, **expected}.items() if value is not None}
    assert warnings == []


@pytest.mark.parametrize(("inputs", "flags"), GIVEN)
def test_flags_of_an_input(inputs: dict[str, str], flags: list[str]) -> None:
    pushed = {**_defaults("build"), "push": "true"}
    others = build_call(Inputs(pushed), {}, print).arguments
    given = {**(_defaults("build") if "outputs" in inputs else pushed), **inputs}
    arguments = build_call(Inputs(given), {}, print).arguments
    assert [flag for flag in arguments if flag not in others] == flags
    assert [flag for flag in arguments if flag in others] == others
    assert build_flags(arguments[1:])  # the executor has them


@pytest.mark.parametrize(
    ("inputs", "loaded"),
    [
        ({"load": "true"}, [{"type": "docker"}]),
        ({"outputs": "type=docker"}, [{"type": "docker"}]),
        ({"outputs": "type=docker,name=A:1", "load": "true"}, [{"type": "docker", "name": "a:1"}]),
        ({"outputs": "type=docker,dest=a", "load": "true"}, [{"type": "docker"}]),
    ],
)
def test_what_docker_loads(inputs: dict[str, str], loaded: list[dict[str, str]]) -> None:
    assert build_call(Inputs({**_defaults("build"), **inputs}), {}, print).loaded == loaded


def test_values_of_secrets_are_in_no_argument() -> None:
    flags, _, variables = _flags({"secrets": 'a=x=1,2\n"b=one\ntwo ""2"""\n'})
    assert flags["secret"] == ("id=a,env=KNARR_SECRET_0", "id=b,env=KNARR_SECRET_1")
    assert variables == {"KNARR_SECRET_0": "x=1,2", "KNARR_SECRET_1": 'one\ntwo "2"'}


def test_secrets_that_docker_leaves_out_are_warnings() -> None:
    given = {"secrets": "a=\nb=1\nb=2", "secret-envs": "b=X,c=Y", "secret-files": "d=/of nobody"}
    flags, warnings, variables = _flags(given)
    assert flags["secret"] == ("id=b,env=KNARR_SECRET_1", "id=c,env=Y")
    assert variables == {"KNARR_SECRET_0": "1", "KNARR_SECRET_1": "2"}
    assert ["the value of a is empty" in warnings[0], "/of nobody isn't there" in warnings[1]] == [True, True]


def test_a_cache_that_knarr_lacks_is_a_warning() -> None:
    flags, (warning, *_), _ = _flags({"cache-from": "type=gha", "cache-to": "type=gha,mode=max"})
    assert flags == BASIS
    assert "no cache of type=gha" in warning


def test_a_second_cache_to_write_is_a_warning() -> None:
    flags, warnings, _ = _flags({"cache-to": "r.example/a/c\nr.example/d"})
    assert flags == {**BASIS, **CACHE}
    assert warnings == ["knarr keeps layers in one cache, r.example/a/c; r.example/d is left out"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"push": "yes"}, "the input push is 'yes'"),
        ({"platforms": "linux/amd64,linux/arm64"}, "names 2 platforms"),
        ({"context": "https://github.com/a/b.git"}, "is no directory"),
        ({"context": "{{defaultContext}}:sub"}, "is no directory"),
        ({"outputs": "-"}, "outputs: - goes to the log"),
        ({"outputs": "type=oci"}, "outputs: type=oci goes to the log"),
        ({"outputs": "type=docker,dest=-"}, "outputs: type=docker,dest=- goes to the log"),
        ({"outputs": "type=oci,x"}, "outputs: there is no key=value in 'x'"),
        ({"network": "bridge"}, "the input network: knarr has no bridge"),
        ({"provenance": "mode=max"}, "the input provenance: knarr has no mode=max"),
        ({"sbom": "true"}, "the input sbom: knarr has no true"),
        ({"attests": "type=sbom"}, "the input attests: knarr has no type=sbom"),
        ({"call": "check"}, "the input call: knarr has no check"),
        ({"cgroup-parent": "a"}, "the input cgroup-parent: knarr has no a"),
        ({"allow": "device=a"}, "the input allow: knarr has no device=a"),
        ({"secrets": "s3cret"}, "the input secrets has an entry without a name"),
    ],
)
def test_input_that_cannot_be_used(inputs: dict[str, str], message: str) -> None:
    with pytest.raises(ActionError, match=message) as caught:
        _flags(inputs)
    assert caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_proxies_are_build_arguments_before_those_of_the_user() -> None:
    environment = {"HTTPS_PROXY": "http://proxy:1", "no_proxy": "a", "HTTP_PROXY": ""}
    call = build_call(Inputs({**_defaults("build"), "build-args": "no_proxy=b"}), environment, print)
    assert build_flags(call.arguments[1:])["build_arg"] == ("HTTPS_PROXY", "no_proxy", "no_proxy=b")


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
