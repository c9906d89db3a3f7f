"""Containers that may do less: the `restricted` Pod Security Standard, with a root that can't be written."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.builds import MANIFEST_TYPE
from support.docker_engine import Engine
from support.flatten import flatten_layout
from support.registry import Registry

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

IMAGE = "knarr/executor:debug"
RESTRICTED = (
    "--user=10001:10001",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--read-only",
)
WITHOUT_RUN = """\
FROM busybox AS files
WORKDIR /app
COPY --chown=app file /app/
ADD archive.tar /unpacked/
USER 1000
FROM files
COPY --from=debian /bin/bash /usr/local/bin/
COPY --chmod=4755 file /set-user-id
LABEL made=here
"""
EVERY_NAMESPACE = ("--pid=host", "--ipc=host", "--uts=host", "--cgroupns=host")


@dataclass(frozen=True, slots=True)
class Pod:
    """A context that is mounted, and an `emptyDir`, which anybody may write to."""

    engine: Engine
    registry: Registry
    place: Path

    def build(
        self, dockerfile: str, *arguments: str, options: Sequence[str]
    ) -> subprocess.CompletedProcess[str]:
        context, scratch = self.place / "context", self.place / "scratch"
        for directory in (context, scratch):
            directory.mkdir(exist_ok=True)
        scratch.chmod(0o777)
        (context / "file").write_text("from the context\n")
        subprocess.run(["tar", "-cf", context / "archive.tar", "-C", context, "file"], check=True)
        (context / "Dockerfile").write_text(dockerfile)
        volumes = [f"--volume={context}:/workspace:ro", f"--volume={scratch}:/scratch"]
        where = f"--registry-map=docker.io={self.registry.host}"
        return self.engine.run_to_end(IMAGE, [where, *arguments], options=[*volumes, *options])


@pytest.fixture
def pod(engine: Engine, base_registry: Registry, tmp_path: Path) -> Pod:
    return Pod(engine, base_registry, tmp_path)


@pytest.mark.parametrize(
    ("variable", "directory"), [("KANIKO_DIR", "/scratch/made"), ("KNARR_DIR", "/scratch")]
)
def test_what_runs_nothing_needs_no_privilege(variable: str, directory: str, pod: Pod) -> None:
    repository = f"restricted/{variable.lower()}"
    done = pod.build(
        WITHOUT_RUN,
        f"--destination={pod.registry.host}/{repository}:1",
        "--oci-layout-path=/scratch/layout",
        options=[*RESTRICTED, f"--env={variable}={directory}"],
    )
    assert done.returncode == 0, done.stderr
    assert pod.registry.get(f"{repository}/manifests/1", {"Accept": MANIFEST_TYPE})
    files = flatten_layout(pod.place / "scratch/layout").files
    assert (files["/app/file"].uid, files["/unpacked/file"].text) == (1000, "from the context\n")
    assert (files["/set-user-id"].mode, files["/usr/local/bin/bash"].uid) == (0o4755, 0)
    left = [path for path in (pod.place / "scratch").rglob("*") if "layout" not in path.parts]
    assert [path.name for path in left] == (["made"] if variable == "KANIKO_DIR" else [])


def test_a_root_that_cannot_be_written_needs_a_directory(pod: Pod) -> None:
    done = pod.build(WITHOUT_RUN, "--no-push", options=RESTRICTED)
    assert done.returncode != 0
    assert "can't make a work directory in /kaniko: Read-only file system" in done.stderr
    assert "KNARR_DIR" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            [*RESTRICTED, "--env=KNARR_DIR=/scratch"],
            ("cannot build in place as user 10001", "hint: run the container as root: runAsUser: 0"),
        ),
        (
            ["--cap-drop=ALL"],
            ("cannot build in place without the capabilities CHOWN, DAC_OVERRIDE", "capabilities.drop"),
        ),
        (
            ["--read-only", "--env=KNARR_DIR=/scratch"],
            ("the container's root file system is read-only", "hint: readOnlyRootFilesystem: false"),
        ),
    ],
    ids=["restricted", "no-capabilities", "read-only"],
)
def test_what_a_run_lacks_is_named(options: Sequence[str], words: Sequence[str], pod: Pod) -> None:
    done = pod.build("FROM busybox\nRUN true\n", "--no-push", options=options)
    assert done.returncode != 0
    for word in words:
        assert word in done.stderr


def test_without_a_namespace_of_its_own_it_may_be_no_container(pod: Pod) -> None:
    dockerfile = "FROM busybox\nRUN touch /made\n"
    done = pod.build(dockerfile, "--no-push", options=EVERY_NAMESPACE)
    assert done.returncode == 8, done.stderr
    assert "cannot build in place: this is no container" in done.stderr
    done = pod.build(dockerfile, "--no-push", "--force", options=EVERY_NAMESPACE)
    assert done.returncode == 0, done.stderr
    for option in EVERY_NAMESPACE[:3]:  # an older engine's containers have the machine's cgroups anyway
        others = [each for each in EVERY_NAMESPACE if each != option]
        done = pod.build(dockerfile, "--no-push", "--isolation=inplace", options=others)
        assert done.returncode == 0, done.stderr
