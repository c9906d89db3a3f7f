"""What a build tells the pipeline around it, in files, devices, URLs."""

import io
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.builds import Builds, check_explained
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.knarr_cli import EXECUTOR
from support.registry import Registry, make_certificates, server_context

pytestmark = pytest.mark.registry

USAGE_ERROR, AUTH_ERROR, OUTPUT_ERROR = 2, 6, 9
DOCKERFILE = "FROM scratch\nCOPY a /a\n"
FILES = {"a": "text"}
ARGUMENTS = ("--isolation=none",)


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository of this test alone."""
    return "files/" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


def test_kaniko_files_of_several_destinations(builds: Builds, repository: str) -> None:
    place, name = builds.place, builds.name(repository)
    digest = builds.build(
        DOCKERFILE,
        *ARGUMENTS,
        *("-d", f"{name}:1", "-d", name),
        f"--digest-file={place}/new/digest",
        f"--image-name-with-digest-file={place}/names",
        f"--image-name-tag-with-digest-file={place}/tagged",
        files=FILES,
        environment={"BUILDER_OUTPUT": str(place / "builder")},
    ).output.strip()
    assert (place / "new/digest").read_bytes() == digest.encode()
    assert (place / "names").read_text() == f"{name}@{digest}\n" * 2
    assert (place / "tagged").read_text() == f"{name}:1@{digest}\n{name}:latest@{digest}\n"
    lines = (place / "builder/images").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"name": f"{name}:{tag}", "digest": digest} for tag in ("1", "latest")
    ]


def test_without_a_push(builds: Builds) -> None:
    place = builds.place
    digest = builds.build(
        DOCKERFILE,
        *ARGUMENTS,
        *("--no-push", "-d", "app"),
        f"--image-name-tag-with-digest-file={place}/tagged",
        f"--metadata-file={place}/metadata",
        f"--dotenv-file={place}/env",
        f"--result-file=IMAGE_URL={place}/url",
        f"--result-file=IMAGES={place}/images",
        files=FILES,
        environment={"BUILDER_OUTPUT": str(place / "builder")},
    ).output.strip()
    assert (place / "tagged").read_text() == f"index.docker.io/library/app:latest@{digest}\n"
    assert json.loads((place / "metadata").read_bytes())["containerimage.digest"] == digest
    assert (place / "env").read_text().startswith(f"IMAGE_DIGEST={digest}\nIMAGE_ID=sha256:")
    assert (place / "url").read_text() == (place / "images").read_text() == ""
    expected = {"context", "work", "tagged", "metadata", "env", "url", "images"}
    assert {path.name for path in place.iterdir()} == expected


def test_pipelines_get_what_was_pushed(builds: Builds, repository: str) -> None:
    place, name = builds.place, builds.name(repository)
    (place / "github").write_text("before=1\n")
    results = [
        f"{each}={place}/results/{each}" for each in ("IMAGE_URL", "IMAGE_DIGEST", "IMAGE_REF", "IMAGES")
    ]
    digest = builds.build(
        DOCKERFILE,
        *ARGUMENTS,
        *("--destinations", f"{name}:1", "", f"{name}:2", "--end"),
        *("--result-files", *results, "IMAGE_URL=", "--end"),
        "--github-output",
        f"--dotenv-file={place}/env",
        files=FILES,
        environment={"GITHUB_OUTPUT": str(place / "github")},
    ).output.strip()
    assert {path.name: path.read_text() for path in (place / "results").iterdir()} == {
        "IMAGE_URL": f"{name}:1",
        "IMAGE_DIGEST": digest,
        "IMAGE_REF": f"{name}@{digest}",
        "IMAGES": f"{name}@{digest}",
    }
    assert f"IMAGE_REF={name}@{digest}\n" in (place / "env").read_text()
    assert (place / "github").read_text().startswith("before=1\ndigest<<end_")
    assert f"\n{digest}\nend_" in (place / "github").read_text()


def _refuse_in_the_end(asked: Asked) -> Answer:
    """Begin uploads, and give them up, but take none."""
    answers = {
        "GET": Answer(200),
        "HEAD": Answer(404),
        "DELETE": Answer(204),
        "POST": Answer(202, headers={"Location": "/v2/x/blobs/uploads/1"}),
    }
    return answers.get(asked.method, Answer(403))


def test_nothing_is_written_when_the_build_or_the_push_fails(builds: Builds, repository: str) -> None:
    place = builds.place
    arguments = [
        *ARGUMENTS,
        f"--destination={builds.name(repository)}:1",
        f"--digest-file={place}/digest",
        f"--result-file=IMAGE_URL={place}/url",
        f"--metadata-file={place}/metadata",
    ]
    builds.build("FROM scratch\nCOPY missing /\n", *arguments, status=4)
    with FaultyRegistry(_refuse_in_the_end) as closed:
        more = [f"--destination={closed.host}/x", f"--insecure-registry={closed.host}"]
        builds.build(DOCKERFILE, *arguments, *more, files=FILES, status=AUTH_ERROR)
    assert {path.name for path in place.iterdir()} == {"context", "work"}


def test_standard_output_has_the_file_alone(builds: Builds) -> None:
    result = builds.build(DOCKERFILE, *ARGUMENTS, "--no-push", "--digest-file=/dev/stdout", files=FILES)
    assert re.fullmatch("sha256:[0-9a-f]{64}", result.output)


def test_standard_output_that_is_a_file(builds: Builds) -> None:
    context = builds.context(DOCKERFILE, FILES)
    command = ["build", str(context), *ARGUMENTS, "--no-push", "--digest-file=/dev/stdout"]
    with (builds.place / "out").open("wb") as out:
        subprocess.run(
            [sys.executable, "-m", "knarr", *command],
            env={"PYTHONPATH": str(EXECUTOR), "KNARR_DIR": str(builds.work)},
            stdout=out,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    assert re.fullmatch("sha256:[0-9a-f]{64}", (builds.place / "out").read_text())
    assert Path("/dev/stdout").is_symlink()


PLACES = ("digest", "names", "tagged", "metadata", "env", "url", "image.tar", "page", "github", "images")
"""Of all that a build writes to files that it is told."""


def _build_into(builds: Builds, repository: str) -> str:
    """A build whose outputs are all of `PLACES`, in the directory `out`; gives the digest."""
    out = builds.place / "out"
    return builds.build(
        DOCKERFILE,
        *ARGUMENTS,
        f"--destination={builds.name(repository)}:1",
        f"--digest-file={out}/digest",
        f"--image-name-with-digest-file={out}/names",
        f"--image-name-tag-with-digest-file={out}/tagged",
        f"--metadata-file={out}/metadata",
        f"--dotenv-file={out}/env",
        f"--result-file=IMAGE_URL={out}/url",
        f"--tar-path={out}/image.tar",
        f"--report={out}/page",
        "--github-output",
        files=FILES,
        environment={"BUILDER_OUTPUT": str(out), "GITHUB_OUTPUT": f"{out}/github"},
    ).output.strip()


def _check_contents(contents: dict[str, bytes], digest: str) -> None:
    assert all(digest.encode() in contents[name] for name in set(PLACES) - {"url", "image.tar"})
    assert contents["url"].endswith(b":1")
    with tarfile.open(fileobj=io.BytesIO(contents["image.tar"])) as archive:
        assert digest.replace(":", "/") in "".join(archive.getnames())


def _read_for_a_minute(path: Path) -> bytes:
    return subprocess.run(["timeout", "60", "cat", path], stdout=subprocess.PIPE, check=True).stdout


def test_devices_stay_devices(builds: Builds, repository: str) -> None:
    out = builds.place / "out"
    out.mkdir()
    for name in PLACES:
        os.mknod(out / name, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    _build_into(builds, repository)
    assert sorted(os.listdir(out)) == sorted(PLACES)
    assert all(stat.S_ISCHR((out / name).lstat().st_mode) for name in PLACES)


def test_pipes_are_written_to(builds: Builds, repository: str) -> None:
    out = builds.place / "out"
    out.mkdir()
    for name in PLACES:
        os.mkfifo(out / name)
    with ThreadPoolExecutor(len(PLACES)) as readers:
        read = {name: readers.submit(_read_for_a_minute, out / name) for name in PLACES}
        digest = _build_into(builds, repository)
        _check_contents({name: each.result() for name, each in read.items()}, digest)
    assert all(stat.S_ISFIFO((out / name).lstat().st_mode) for name in PLACES)


def test_symlinks_are_written_through(builds: Builds, repository: str) -> None:
    out, real = builds.place / "out", builds.place / "real"
    out.mkdir()
    real.mkdir()
    for name in PLACES:
        (out / name).symlink_to(real / name)
        (real / name).touch()
    digest = _build_into(builds, repository)
    assert all((out / name).is_symlink() for name in PLACES)
    _check_contents({name: (real / name).read_bytes() for name in PLACES}, digest)
    assert sorted(os.listdir(real)) == sorted(PLACES)


def test_standard_output_has_the_tarball_alone(builds: Builds) -> None:
    context = builds.context(DOCKERFILE, FILES)
    command = ["build", str(context), *ARGUMENTS, "--no-push", "--tar-path=/dev/stdout"]
    output = subprocess.run(
        [sys.executable, "-m", "knarr", *command],
        env={"PYTHONPATH": str(EXECUTOR), "KNARR_DIR": str(builds.work)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(output)) as archive:
        assert "manifest.json" in archive.getnames()
    assert output.endswith(bytes(1024))


def test_standard_output_has_the_page_alone(builds: Builds) -> None:
    page = builds.build(DOCKERFILE, *ARGUMENTS, "--no-push", "--report=/dev/stdout", files=FILES).output
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")


def test_url_gets_a_put(builds: Builds) -> None:
    ca, certificate, key = make_certificates(builds.place)
    tls = server_context(certificate, key)
    trusted = {"SSL_CERT_FILE": str(ca)}
    with FaultyRegistry(lambda asked: Answer(200), tls=tls) as server:
        url = f"https://{server.host}/bucket/digest?signature=secret"
        arguments = [*ARGUMENTS, "--no-push", f"--digest-file={url}"]
        digest = builds.build(DOCKERFILE, *arguments, files=FILES, environment=trusted).output.strip()
        (asked,) = server.asked
        assert (asked.method, asked.path) == ("PUT", "/bucket/digest?signature=secret")
        assert asked.headers["content-type"] == "text/plain"
        assert "authorization" not in asked.headers
        assert asked.body == digest.encode()
        server.script = lambda asked: Answer(403)
        result = builds.build(DOCKERFILE, *arguments, files=FILES, environment=trusted, status=OUTPUT_ERROR)
        assert f"https://{server.host}/bucket/digest" in result.explanation
        assert "secret" not in result.log


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image-name-with-digest-file=/x"], ["--image-name-with-digest-file needs a --destination"]),
        (["--digest-file=http://x/y?secret"], ["an https URL", "http://x/y"]),
        (["--github-output"], ["GITHUB_OUTPUT is not set"]),
        (["--result-file=IMAGE=/x"], ["IMAGE_URL, IMAGE_DIGEST"]),
        (["--destinations", "a"], ["has no end"]),
    ],
)
def test_refused(builds: Builds, arguments: list[str], words: list[str]) -> None:
    result = builds.build(
        DOCKERFILE, *ARGUMENTS, "--no-push", *arguments, environment={"GITHUB_OUTPUT": ""}, status=USAGE_ERROR
    )
    assert "secret" not in result.log
    assert all(word in result.explanation for word in words), result.log


def test_place_that_is_none_is_told_before_the_work(builds: Builds) -> None:
    (builds.place / "file").touch()
    result = builds.build(
        "FROM scratch\nCOPY missing /\n",
        *ARGUMENTS,
        "--no-push",
        f"--result-file=IMAGES={builds.place}/file/images",
        status=OUTPUT_ERROR,
    )
    check_explained(result, "--result-file IMAGES", "is not a directory")
