"""Inputs of the GitLab template as the executor's parser gets them from the job's script."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support import gitlab_template
from support.flag_values import build_flags
from support.recorded_job import PLAIN, recorded, run_script


def _build(directory: Path, inputs: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> Any:
    arguments, _ = recorded(directory, "knarr-build", {**PLAIN, **inputs}, variables)
    assert arguments[0] == "build"
    flags = build_flags(arguments[1:])
    assert flags.pop("dotenv_file").endswith("/image.env")
    return flags


BASIS = {"context": ".", "dockerfile": "Dockerfile", "destination": ("registry.example/app:1",)}


CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"context": "sub dir"}, {"context": "sub dir"}),
    ({"file": "docker/$(touch pwned)"}, {"dockerfile": "docker/$(touch pwned)"}),
    ({"target": "`touch pwned`"}, {"target": ("`touch pwned`",)}),
    ({"tags": "r.example/a:1\nr.example/a\n"}, {"destination": ("r.example/a:1", "r.example/a")}),
    ({"push": False, "tags": ":of-no-registry"}, {"no_push": True, "destination": None}),
    (
        {"build-args": 'A=1 2\n\nB="x";*\nC'},
        {"build_arg": ("A=1 2", 'B="x";*', "C")},
    ),
    (
        {"build-args": '"A=one\n  ""two"", $(touch pwned)\n"\n# C=3'},
        {"build_arg": ('A=one\n  "two", $(touch pwned)',)},
    ),
    ({"tags": "r.example/a:1, r.example/b:2"}, {"destination": ("r.example/a:1", "r.example/b:2")}),
    ({"secrets": 'id=a,"src=b, c"'}, {"secret": ('id=a,"src=b, c"',)}),
    ({"build-contexts": "a=b\nc=docker-image://d"}, {"build_context": ("a=b", "c=docker-image://d")}),
    ({"secrets": "id=a,env=B\nid=c,src=d e"}, {"secret": ("id=a,env=B", "id=c,src=d e")}),
    ({"labels": "a=b c\nd=e"}, {"label": ("a=b c", "d=e")}),
    ({"annotations": "a=b c\nd=e"}, {"annotation": ("a=b c", "d=e")}),
    ({"cache": True, "cache-repo": "r.example/c"}, {"cache": True, "cache_repo": "r.example/c"}),
    (
        {"cache": True, "cache-repo": "r.example/c", "cache-ttl": "12h"},
        {"cache": True, "cache_repo": "r.example/c", "cache_ttl": "12h"},
    ),
    (
        {"cache": True, "cache-repo": "r.example/c", "cache-dir": "/cache/a b"},
        {"cache": True, "cache_repo": "r.example/c", "cache_dir": "/cache/a b"},
    ),
    ({"image-format": "docker"}, {"image_format": "docker"}),
    ({"compression": "zstd"}, {"compression": "zstd"}),
    ({"registry-args": "--insecure\n--push-retry=2"}, {"insecure": True, "push_retry": "2"}),
    (
        {"extra-args": "--ignore-path=/a b\n--reproducible"},
        {"ignore_path": ("/a b",), "reproducible": True},
    ),
]
ELSEWHERE = frozenset(
    "name stage promote-stage executor-image standard-labels multi-platform push-by-digest matrix rules "
    "promote promote-tags promote-rules warm warm-images warm-rules".split()
)
"""Inputs that say which jobs there are, or that have a test of their own."""


def test_no_input_is_left_out() -> None:
    declared, _ = gitlab_template.load()
    assert {name for inputs, _ in CASES for name in inputs} | ELSEWHERE == set(declared)


@pytest.mark.parametrize(("inputs", "expected"), CASES)
def test_input_gets_to_the_build(tmp_path: Path, inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    wanted = {name: value for name, value in {**BASIS, **expected}.items() if value is not None}
    assert _build(tmp_path, inputs) == wanted
    assert not (tmp_path / "pwned").exists()


VARIABLES = {
    "LINES": 'one\ntwo, "three"\n#four',
    "ODD": "a  b'*`touch pwned`$(touch pwned)$HOME \\n",
    "EMPTY": "",
    "_1": "underscored",
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=$LINES", f"A={VARIABLES['LINES']}"),
        ("A=${LINES}.", f"A={VARIABLES['LINES']}."),
        ('"A=$LINES\n"', f"A={VARIABLES['LINES']}"),
        ("A=$ODD", f"A={VARIABLES['ODD']}"),
        ("A=x$ODD,$ODD", f"A=x{VARIABLES['ODD']},{VARIABLES['ODD']}"),
        ("A=$EMPTY$NOSUCH.", "A=."),
        ("A=$_1$_1x", "A=underscored"),
        ("A=$$LINES$$", "A=$LINES$"),
        ("A=100%, $ and %d %_1%", "A=100%, $ and %d underscored"),
        ("$LINES=A", f"{VARIABLES['LINES']}=A"),
    ],
)
@pytest.mark.parametrize(
    ("name", "field"), [("build-args", "build_arg"), ("labels", "label"), ("annotations", "annotation")]
)
def test_variables_are_expanded_in_values(
    tmp_path: Path, text: str, value: str, name: str, field: str
) -> None:
    """As GitLab's runner expands them (os.Expand in its `JobVariables.ExpandValue`), but after the split."""
    assert _build(tmp_path, {name: f"X=1\n{text}\nY=2"}, VARIABLES)[field] == ("X=1", value, "Y=2")
    assert not (tmp_path / "pwned").exists()


def test_variables_of_every_other_list(tmp_path: Path) -> None:
    flags = _build(
        tmp_path,
        {
            "tags": "$HOST/a:$TAG,$HOST/b",
            "secrets": "id=a,env=$NAME",
            "build-contexts": "a=$PLACE",
            "extra-args": "--ignore-path=$PLACE\n$EMPTY",
            "registry-args": "--registry-map=docker.io=$HOST",
        },
        {"HOST": "r.example:5", "TAG": "v1", "NAME": "A", "PLACE": "/a b", "EMPTY": ""},
    )
    assert flags == {
        **BASIS,
        "destination": ("r.example:5/a:v1", "r.example:5/b"),
        "secret": ("id=a,env=A",),
        "build_context": ("a=/a b",),
        "ignore_path": ("/a b",),
        "registry_map": ("docker.io=r.example:5",),
    }


def test_quote_that_is_never_closed(tmp_path: Path) -> None:
    done = run_script(tmp_path, "knarr-build", {**PLAIN, "labels": 'a=b\n"c'}, {"PATH": os.environ["PATH"]})
    assert done.returncode == 1
    assert done.stderr == "error: the input labels has a quote that is never closed; hint: double it\n"


ANNOTATIONS = (
    "a=b c\nmanifest:d=e\nindex:f=g\nmanifest,index:h=i\nindex-descriptor:j=k\nmanifest[linux/amd64]:l=m"
)


def test_annotations_of_a_leg(tmp_path: Path) -> None:
    inputs = {**PLAIN, "annotations": ANNOTATIONS, "multi-platform": True}
    arguments, _ = recorded(tmp_path, "knarr-platform", inputs, {"PLATFORM": "linux/arm64"})
    assert [each for each in arguments if each.startswith("--annotation=")] == [
        "--annotation=a=b c",
        "--annotation=manifest:d=e",
        "--annotation=manifest,index:h=i",
        "--annotation=manifest[linux/amd64]:l=m",
    ]


def test_annotations_of_an_index(tmp_path: Path) -> None:
    (tmp_path / "knarr-knarr").mkdir()
    (tmp_path / "knarr-knarr/a.ref").write_text("r.example/a@sha256:1")
    arguments, _ = recorded(tmp_path, "knarr-index", {"tags": "r.example/a", "annotations": ANNOTATIONS})
    assert [each for each in arguments if each.startswith("--annotation=")] == [
        "--annotation=a=b c",
        "--annotation=index:f=g",
        "--annotation=manifest,index:h=i",
        "--annotation=index-descriptor:j=k",
    ]


def test_push_by_digest(tmp_path: Path) -> None:
    inputs = {**PLAIN, "tags": "r.example:5/app:1\nr.example/other", "push-by-digest": True}
    arguments, _ = recorded(tmp_path, "knarr-build", inputs)
    names = [each for each in arguments if each.startswith(("--destination", "--push-by"))]
    assert names == ["--destination=r.example:5/app", "--destination=r.example/other", "--push-by-digest"]


def test_leg_that_is_pushed_by_digest(tmp_path: Path) -> None:
    inputs = {
        **PLAIN,
        "tags": "r.example:5/app:1\nr.example/other",
        "push-by-digest": True,
        "multi-platform": True,
    }
    arguments, _ = recorded(tmp_path, "knarr-platform", inputs, {"PLATFORM": "linux/arm64"})
    names = [each for each in arguments if each.startswith(("--destination", "--push-by"))]
    assert names == ["--destination=r.example:5/app", "--push-by-digest"]


def test_standard_labels_come_before_those_of_the_inputs(tmp_path: Path) -> None:
    name = "org.opencontainers.image"
    flags = _build(
        tmp_path, {"standard-labels": True, "labels": f"{name}.source=mine"}, {"CI_COMMIT_TAG": "v1 a"}
    )
    assert flags["label"] == (
        f"{name}.source=https://gitlab.example/team/app",
        f"{name}.revision=0123456789abcdef",
        f"{name}.created=2026-01-02T03:04:05Z",
        f"{name}.ref.name=main; touch pwned",
        f"{name}.version=v1 a",
        f"{name}.source=mine",
    )


def test_leg_of_a_matrix(tmp_path: Path) -> None:
    arguments, _ = recorded(
        tmp_path,
        "knarr-platform",
        {**PLAIN, "tags": "r.example:5/app\nr.example/other:1", "multi-platform": True},
        {"PLATFORM": "linux/arm/v7"},
    )
    flags = build_flags(arguments[1:])
    (result,) = flags.pop("result_file")
    assert result.startswith("IMAGE_REF=/")
    assert flags == {
        **BASIS,
        "destination": ("r.example:5/app:latest-linux-arm-v7",),
        "custom_platform": "linux/arm/v7",
    }
    assert (tmp_path / "knarr-knarr/linux-arm-v7.ref").read_text() == "registry.example/app@sha256:1"


def test_index_of_the_legs(tmp_path: Path) -> None:
    legs = tmp_path / "knarr-knarr"
    legs.mkdir()
    (legs / "linux-amd64.ref").write_text("r.example/a@sha256:1")
    (legs / "linux-arm64.ref").write_text("r.example/a@sha256:2")
    inputs = {"tags": "r.example/a:1\nr.example/a:2", "annotations": "a=b c", "registry-args": "--insecure"}
    arguments, _ = recorded(tmp_path, "knarr-index", inputs)
    assert arguments[0] == "index"
    assert arguments[2:] == [
        "--destination=r.example/a:1",
        "--destination=r.example/a:2",
        "--annotation=a=b c",
        "--insecure",
        "r.example/a@sha256:1",
        "r.example/a@sha256:2",
    ]


def test_promotion(tmp_path: Path) -> None:
    (tmp_path / "knarr-knarr").mkdir()
    (tmp_path / "knarr-knarr/image.env").write_text("IMAGE_TAG=1\nIMAGE_REF=r.example/a@sha256:1\n")
    inputs = {"promote-tags": "r.example/a:1\nr.example/a:2", "registry-args": "--insecure"}
    arguments, _ = recorded(tmp_path, "knarr-promote", inputs)
    assert arguments == [
        "index",
        "r.example/a@sha256:1",
        "--prefer-index=false",
        "--destination=r.example/a:1",
        "--destination=r.example/a:2",
        "--insecure",
    ]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ("r.example/a\nr.example/b:1", ["--image=r.example/a", "--image=r.example/b:1"]),
        ("", ["--dockerfile=sub/Dockerfile", "--build-arg=A=b c"]),
    ],
)
def test_warming(tmp_path: Path, images: str, expected: list[str]) -> None:
    inputs = {"cache-dir": "/cache/knarr", "cache-ttl": "6h", "warm-images": images, "context": "sub"}
    more = {"build-args": "A=b c", "registry-args": "--insecure-pull"}
    arguments, _ = recorded(tmp_path, "knarr-warm", {**inputs, **more})
    assert arguments == ["warm", "--cache-dir=/cache/knarr", "--cache-ttl=6h", *expected, "--insecure-pull"]


def test_proxies_are_build_arguments(tmp_path: Path) -> None:
    flags = _build(tmp_path, {}, {"HTTPS_PROXY": "http://proxy:1", "no_proxy": "a b"})
    assert flags["build_arg"] == ("HTTPS_PROXY", "no_proxy")


def test_credentials_and_certificates(tmp_path: Path) -> None:
    (tmp_path / "auth").write_text('{"auths": {}}')
    (tmp_path / "ca").write_text("of GitLab")
    arguments, seen = recorded(
        tmp_path,
        "knarr-build",
        PLAIN,
        {
            "DOCKER_AUTH_CONFIG": str(tmp_path / "auth"),
            "CI_SERVER_TLS_CA_FILE": str(tmp_path / "ca"),
            "CUSTOM_CA_CERTS": "of the company",
            "SSL_CERT_DIR": "/kaniko/ssl/certs",
            "CI_DEPENDENCY_PROXY_SERVER": "git-lab.example.com:443",
            "CI_DEPENDENCY_PROXY_USER": "user",
            "CI_DEPENDENCY_PROXY_PASSWORD": "pass word",
        },
    )
    assert seen["DOCKER_AUTH_CONFIG"] == '{"auths": {}}'
    first, second = seen["SSL_CERT_DIR"].split(":")
    assert first == "/kaniko/ssl/certs"
    assert {path.read_text().strip() for path in Path(second).iterdir()} == {"of GitLab", "of the company"}
    assert seen["KANIKO_GIT_LAB_EXAMPLE_COM_USER"] == "user"
    assert seen["KANIKO_GIT_LAB_EXAMPLE_COM_PASSWORD"] == "pass word"
    assert build_flags(arguments[1:])["credential_helpers"] == ("gitlab", "env", "google", "ecr", "acr")


@pytest.mark.parametrize("name", [":main", "/app:main", "$CI_REGISTRY_IMAGE:main"])
def test_registry_that_is_off(tmp_path: Path, name: str) -> None:
    done = run_script(tmp_path, "knarr-build", {"tags": name}, {"PATH": os.environ["PATH"]})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: the image's name has no registry: {name};")
    assert "hint: switch on the container registry" in line


def test_a_name_that_begins_with_nothing_has_its_registry(tmp_path: Path) -> None:
    variables = {"PATH": os.environ["PATH"], "PREFIX": "", "CI_REGISTRY_IMAGE": "r.example/app"}
    done = run_script(tmp_path, "knarr-build", {"tags": "$PREFIX$CI_REGISTRY_IMAGE:1"}, variables)
    assert "no registry" not in done.stderr


def test_inputs_about_the_jobs() -> None:
    rules = {name: [{"if": f"$CI == '{name}'"}] for name in ("rules", "warm-rules", "promote-rules")}
    matrix = [{"PLATFORM": "linux/s390x", "RUNNER_TAG": "s390x"}]
    inputs = {
        "name": "other",
        "stage": "images",
        "promote-stage": "release",
        "executor-image": "r.example/knarr:1@sha256:0",
        "multi-platform": True,
        "matrix": matrix,
        "promote": True,
        "warm": True,
        **rules,
    }
    jobs = gitlab_template.jobs(inputs)
    started = {name: job for name, job in jobs.items() if not name.startswith(".")}
    assert {name: job["stage"] for name, job in started.items()} == {
        "other-build": "images",
        "other-platform": "images",
        "other-index": "images",
        "other-warm": "images",
        "other-promote": "release",
    }
    assert {job["image"]["name"] for job in started.values()} == {"r.example/knarr:1@sha256:0"}
    assert started["other-platform"]["parallel"] == {"matrix": matrix}
    for name, job in started.items():
        own = {"other-warm": "warm-rules", "other-promote": "promote-rules"}.get(name, "rules")
        assert job["rules"][-1:] == rules[own]


@pytest.mark.parametrize("is_on", [False, True])
def test_switches_of_the_jobs(*, is_on: bool) -> None:
    """The rules that come before those of the user, with their comparisons made."""
    jobs = gitlab_template.jobs(dict.fromkeys(("multi-platform", "promote", "warm", "push"), is_on))
    never = {name: job["rules"][0]["if"] for name, job in jobs.items() if "rules" in job}
    wanted = {
        "knarr-build": is_on,
        "knarr-platform": not is_on,
        "knarr-index": not is_on,
        "knarr-warm": not is_on,
        "knarr-promote": not is_on,
    }
    assert {name: _holds(text) for name, text in never.items()} == wanted
    assert all(job["rules"][0]["when"] == "never" for job in jobs.values() if "rules" in job)


def _holds(condition: str) -> bool:
    return any(left == right for left, right in (each.split(" == ") for each in condition.split(" || ")))
