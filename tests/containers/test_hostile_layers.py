"""Hostile layers in stock containers: nothing beside the image is changed, one build after the other."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.docker_engine import Engine
from support.hostile_layers import built_archives, built_layers, refused_layers, unpack_attacks
from support.image_layout import Member, tar_bytes
from support.registry import Registry
from support.registry_put import put_blob, put_image
from support.volumes import VOLUMES, look_at, make_volumes

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

IMAGE = "knarr/executor:debug"
REPOSITORY = "library/hostile"
TAR_TYPE = "application/vnd.oci.image.layer.v1.tar"
CORRUPT = 7
DONE = 'RUN ["/bin/busybox", "true"]\n'

# Inodes and times of change of what stays itself; of what is put back after each build, what there is.
LOOK = """{
find /knarr /kaniko/[esw]* /kaniko/context -exec stat -c '%n %i %f %u %g %s %Z' {} +
stat -c '%n %i %f %u %g %s %Z' /etc/resolv.conf /etc/hosts /etc/hostname
stat -c '%n %i %f %u %g' /kaniko /proc /sys /dev
find /dev -exec stat -c '%n %f %u %g %t %T' {} +
find / -xdev ! -path '/kaniko*' ! -path /dev ! -path /proc -exec stat -c '%N %f %u %g %s %Y' {} +
} | sort"""
SCRIPT = f"""\
{LOOK} > /kaniko/results/before
for name in /kaniko/context/*; do
  name=${{name##*/}}
  /kaniko/executor --context=/kaniko/context/$name --no-push "$@" > /kaniko/results/$name.log 2>&1
  status=$?
  {LOOK} > /kaniko/results/$name.after
  cmp -s /kaniko/results/before /kaniko/results/$name.after && same=same || same=changed
  echo $name $status $same
done
"""


@dataclass(frozen=True, slots=True)
class Shell:
    """Puts images with a layer between two of a shell into the registry."""

    host: str
    descriptor: dict[str, object]
    diff_id: str

    @classmethod
    def make(cls, registry: Registry) -> "Shell":
        busybox = Path("/bin/busybox").read_bytes()
        members = [Member("bin", "dir"), Member("bin/busybox", content=busybox, mode=0o755)]
        data = tar_bytes(members)
        shell = cls(registry.host, put_blob(registry.host, REPOSITORY, data, TAR_TYPE), _digest(data))
        shell.put("shell", [])
        return shell

    def put(self, tag: str, layers: Sequence[bytes]) -> None:
        descriptors = [put_blob(self.host, REPOSITORY, data, TAR_TYPE) for data in layers]
        diff_ids = [self.diff_id, *map(_digest, layers), self.diff_id]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        put_image(self.host, REPOSITORY, tag, config, [self.descriptor, *descriptors, self.descriptor])


@pytest.fixture(scope="module")
def shell(base_registry: Registry) -> Shell:
    """What the images have beside the hostile layer."""
    return Shell.make(base_registry)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _make_volumes(place: Path) -> list[str]:
    """Volumes with the names that all archives go for."""
    volumes = (*VOLUMES, "/outside")
    options = make_volumes(place, volumes)
    for volume in volumes:
        directory = place / Path(volume).name
        (directory / "sub/deeper").mkdir(parents=True)
        (directory / "x").mkdir()
        (directory / "canary").write_text("alive")
        (directory / "sub/canary").write_text("alive")
    return options


def _attack(engine: Engine, shell: Shell, place: Path, contexts: Mapping[str, str]) -> dict[str, int]:
    """Build all contexts in one container; gives the statuses.

    After each build, and at last, what is beside the image is as it was.
    """
    for name, dockerfile in contexts.items():
        (place / "context" / name).mkdir(parents=True, exist_ok=True)
        (place / "context" / name / "Dockerfile").write_text(dockerfile)
    (place / "results").mkdir()
    volumes = _make_volumes(place / "volumes")
    mounts = [f"--volume={place}/{name}:/kaniko/{name}" for name in ("context", "results")]
    before = look_at(place / "volumes")
    arguments = ["-c", SCRIPT, "sh", f"--registry-map=docker.io={shell.host}"]
    output = engine.run(IMAGE, arguments, options=[*mounts, *volumes, "--entrypoint=sh"])
    found = [line.split() for line in output.splitlines()]
    assert [name for name, _, same in found if same != "same"] == []
    assert look_at(place / "volumes") == before
    return {name: int(status) for name, status, _ in found}


def _log(place: Path, name: str) -> str:
    return (place / f"results/{name}.log").read_text(errors="replace")


def _stages(each: Mapping[str, str]) -> str:
    """A Dockerfile with a stage for each, in which steps have run before and after."""
    stages = [f"FROM hostile:shell AS {name}\n{DONE}{line}\n{DONE}" for name, line in each.items()]
    ends = [f"COPY --from={name} /bin/busybox /{name}\n" for name in each]
    return "".join([*stages, "FROM scratch\n", *ends])


def _named(layers: Mapping[str, bytes]) -> dict[str, bytes]:
    """The layers under names that can be tags and directories."""
    return {"".join(c if c.isalnum() else "-" for c in name): data for name, data in layers.items()}


def test_there_are_many() -> None:
    assert len(built_layers()) + len(refused_layers()) > 100
    assert len(built_archives()) > 25


def test_layers_of_a_base(engine: Engine, shell: Shell, tmp_path: Path) -> None:
    """Each on top of all the others."""
    layers = [*built_layers().values()]
    images = {"forwards": layers, "backwards": layers[::-1], "attacks": [*unpack_attacks()[0].values()]}
    for tag, each in images.items():
        shell.put(tag, each)
    contexts = {tag: f"FROM hostile:{tag}\nUSER 0\n{DONE}" for tag in images}
    statuses = _attack(engine, shell, tmp_path, contexts)
    assert statuses == dict.fromkeys(sorted(images), 0), [_log(tmp_path, tag)[-600:] for tag in images]


def test_layers_that_are_refused(engine: Engine, shell: Shell, tmp_path: Path) -> None:
    layers = _named({**refused_layers(), **unpack_attacks()[1]})
    for name, data in layers.items():
        shell.put(name, [data])
    contexts = {name: f"FROM hostile:{name}\n{DONE}" for name in layers}
    statuses = _attack(engine, shell, tmp_path, contexts)
    wrong = {name: _log(tmp_path, name)[-600:] for name, status in statuses.items() if status != CORRUPT}
    assert wrong == {}


def test_what_is_copied_from_a_stage(engine: Engine, shell: Shell, tmp_path: Path) -> None:
    layers = _named(built_archives())
    for name, data in layers.items():
        shell.put(name, [data])
    lines = {name: f"COPY --from=hostile:{name} / /" for name in layers}
    statuses = _attack(engine, shell, tmp_path, {"copied": _stages(lines)})
    assert statuses == {"copied": 0}, _log(tmp_path, "copied")[-1000:]


def test_archives_that_are_added(engine: Engine, shell: Shell, tmp_path: Path) -> None:
    archives = _named(built_archives())
    place = tmp_path / "context/added"
    place.mkdir(parents=True)
    for name, data in archives.items():
        (place / f"{name}.tar").write_bytes(data)
    lines = {name: f"ADD {name}.tar /" for name in archives}
    statuses = _attack(engine, shell, tmp_path, {"added": _stages(lines)})
    assert statuses == {"added": 0}, _log(tmp_path, "added")[-1000:]
