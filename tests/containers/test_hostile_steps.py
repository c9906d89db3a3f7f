"""Steps that go for what their container has beside the image, by way of the executor."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.docker_engine import Engine
from support.podman import Podman
from support.registry import Registry
from support.volumes import VOLUMES, look_at, make_volumes

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

IMAGE = "knarr/executor:debug"
ISOLATION = 8
CONTEXT = 4


@dataclass(frozen=True, slots=True)
class Step:
    """A Dockerfile, how its build ends, what the log says then."""

    dockerfile: str
    status: int
    words: str


def _mounting(target: str) -> Step:
    dockerfile = f"FROM busybox\nRUN --mount=type=tmpfs,target={target} true\n"
    return Step(dockerfile, ISOLATION, f"a step can't mount at {target}: /")


def _replacing(name: str, place: str) -> Step:
    """What the image had below the mount is put back, but never into a volume."""
    dockerfile = (
        f"FROM busybox\nRUN mkdir /a && echo evil > /a/{name}\n"
        f"RUN --mount=type=secret,id=s,target=/a/{name} mv /a /b; ln -s {place} /a\n"
    )
    return Step(
        dockerfile, ISOLATION, f"can't take away what a step had at /a/{name}: a link is in its place"
    )


STEPS: Mapping[str, Step] = {
    **{
        f"mount{target.replace('/', '-')}": _mounting(target) for target in ("/deep", "/var", "/etc", "/data")
    },
    "mount-null": _mounting("/dev/null"),
    "replace-volume": _replacing("file", "/data"),
    "replace-executor": _replacing("executor", "/kaniko"),
    "zz-move-volume": Step(
        "FROM busybox\nRUN mv /deep /moved\nCOPY Dockerfile /moved/er/volume/file\nRUN true\n",
        ISOLATION,
        "the step has moved a volume of this container, from /deep/er/volume to /moved/er/volume",
    ),
    "copy-from-volume": Step(
        "FROM busybox AS a\nRUN ln -s /data /d\nFROM busybox\nCOPY --from=a /d/file /\n", CONTEXT, "not found"
    ),
    "copy-from-kernel": Step(
        "FROM busybox AS a\nRUN ln -s /proc/1 /d\nFROM busybox\nCOPY --from=a /d/environ /\n",
        CONTEXT,
        "not found",
    ),
    "users-of-the-context": Step(
        "FROM busybox\nRUN ln -sf /kaniko/context/users /etc/passwd\nUSER evil\nRUN true\n",
        CONTEXT,
        "no user 'evil'",
    ),
    "deletion": Step("FROM busybox\nRUN touch /.wh...\n", CONTEXT, "means a deletion in an image"),
}
SCRIPT = """\
look() {
  ls -A /; ls -l /dev/null; stat -c '%n %i %a %u %s %Z' /kaniko/executor /knarr/bin/* /etc/resolv.conf
}
before=$(look)
for name in /kaniko/context/*; do
  name=${name##*/}
  /kaniko/executor --context=/kaniko/context/$name --no-push --secret=id=s,src=/kaniko/context/$name/users \\
    "$@" > /kaniko/results/$name 2>&1
  echo $name $?
  # A volume that a step has moved stays where it is then; it comes last.
  [ $name = zz-move-volume ] || [ "$(look)" = "$before" ] || echo $name changed
done
"""


@pytest.mark.parametrize("kind", ["engine", "podman"])
def test_nothing_beside_the_image_changes(
    kind: str, base_registry: Registry, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Builds of all in one container, whose own files are back after each."""
    containers: Engine | Podman = request.getfixturevalue(kind)
    volumes = make_volumes(tmp_path / "volumes", (*VOLUMES, "/var/some"))
    before = look_at(tmp_path / "volumes")
    for name, step in STEPS.items():
        (tmp_path / "context" / name).mkdir(parents=True)
        (tmp_path / "context" / name / "Dockerfile").write_text(step.dockerfile)
        (tmp_path / "context" / name / "users").write_text("evil:x:7:7::/:/bin/sh\n")
    (tmp_path / "results").mkdir()
    mounts = [f"--volume={tmp_path}/{name}:/kaniko/{name}" for name in ("context", "results")]
    arguments = ["-c", SCRIPT, "sh", f"--registry-map=docker.io={base_registry.host}", "--isolation=inplace"]
    output = containers.run(IMAGE, arguments, options=[*mounts, *volumes, "--entrypoint=sh"])
    logs = {name: (tmp_path / "results" / name).read_text() for name in STEPS}
    assert sorted(output.splitlines()) == sorted(f"{name} {step.status}" for name, step in STEPS.items()), (
        logs
    )
    assert {name: log for name, log in logs.items() if STEPS[name].words not in log} == {}
    assert look_at(tmp_path / "volumes") == before
