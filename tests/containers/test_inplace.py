"""Builds in place: in the executor's image with Docker's stock capabilities and seccomp profile."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.bases import Base, push
from support.compare import compare
from support.docker_engine import Engine, RefusedError
from support.flatten import FlatImage, flatten_layout
from support.image_layout import Member, PlatformImage, write_layout, write_tar
from support.knarr_cli import knarr
from support.registry import Registry
from support.volumes import look_at, make_volumes

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

IMAGE = "knarr/executor:debug"
LISTING = (
    "find / -xdev ! -path '/kaniko*' ! -path /proc ! -path /sys ! -path /dev "
    "-exec stat -c '%N %A %u %g %s %Y' {} + | sort"
)


@dataclass(frozen=True, slots=True)
class Container:
    """Runs the image with a context, and a directory for results that is mounted below /kaniko."""

    engine: Engine
    registry: Registry
    place: Path

    def write(self, dockerfile: str, files: Mapping[str, str] | None = None) -> None:
        context = self.place / "context"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir()
        (context / "Dockerfile").write_text(dockerfile)
        for name, text in (files or {}).items():
            (context / name).write_text(text)

    def build(self, *arguments: str, name: str = "layout", options: Sequence[str] = ()) -> FlatImage:
        self.run(["/kaniko/executor", *self.arguments(name), *arguments], options)
        return flatten_layout(self.place / "results" / name)

    def arguments(self, name: str = "layout") -> list[str]:
        return [
            "--context=/kaniko/context",
            "--no-push",
            f"--oci-layout-path=/kaniko/results/{name}",
            f"--registry-map=docker.io={self.registry.host}",
        ]

    def shell(self, script: str, options: Sequence[str] = ()) -> str:
        command = " ".join(["/kaniko/executor", *self.arguments()])
        return self.run(["sh", "-c", f"build='{command}'\n{script}"], options)

    def run(self, command: Sequence[str], options: Sequence[str] = ()) -> str:
        (self.place / "results").mkdir(exist_ok=True)
        volumes = [f"--volume={self.place}/{name}:/kaniko/{name}" for name in ("context", "results")]
        first, *rest = command
        return self.engine.run(IMAGE, rest, options=[*volumes, *options, f"--entrypoint={first}"])


@pytest.fixture
def container(engine: Engine, base_registry: Registry, tmp_path: Path) -> Container:
    return Container(engine, base_registry, tmp_path)


STAGES = """\
FROM debian AS tools
RUN mkdir /made && id -u > /made/who && ln /made/who /made/same && rm /etc/issue
COPY file /made/copied
RUN test ! -e /etc/issue && cat /made/copied >> /made/who
FROM busybox AS other
RUN echo other > /other && test ! -e /made && test ! -e /usr/bin/apt-get
FROM tools AS child
RUN cat /made/who > /made/child && test ! -e /other
FROM scratch
COPY --from=tools /made /tools
COPY --from=other /other /
COPY --from=child /made/child /
"""


def test_stages_take_turns(container: Container) -> None:
    container.write(STAGES, {"file": "from the context\n"})
    files = container.build().files
    text = "0\nfrom the context\n"
    assert files["/tools/who"].text == files["/child"].text == text
    assert files["/tools/who"].hard_links == ("/tools/same", "/tools/who")
    assert files["/other"].text == "other\n"
    assert not {"/kaniko", "/knarr", "/proc", "/dev", "/sys", "/workspace"} & files.keys()


def test_it_is_chosen_and_said(container: Container) -> None:
    container.write("FROM busybox\nRUN exit 3\n")
    with pytest.raises(RefusedError, match="isolation inplace: cannot create a user namespace") as raised:
        container.build()
    assert "status 3" in str(raised.value)


def test_a_step_has_what_docker_gives(container: Container) -> None:
    container.write(
        "FROM busybox\nUSER 1000:50\nWORKDIR /home/there\nENV A=1\n"
        "RUN env > /tmp/env; pwd > /tmp/pwd; umask > /tmp/umask; id > /tmp/id; ls /proc/self/fd > /tmp/fd\n"
        "RUN grep -E 'Cap(Eff|Bnd)' /proc/self/status > /tmp/user\nUSER 0\n"
        "RUN grep -E 'Cap(Eff|Bnd)' /proc/self/status > /tmp/root\n"
    )
    options = ["--cap-add=SYS_PTRACE", "--env=TOKEN=secret"]
    files = container.build("--isolation=inplace", options=options).files
    assert "A=1" in files["/tmp/env"].text.split()
    assert "secret" not in files["/tmp/env"].text
    assert files["/tmp/pwd"].text == "/home/there\n"
    assert files["/tmp/umask"].text == "0022\n"
    assert files["/tmp/id"].text.startswith("uid=1000(app) gid=50(staff)")
    assert files["/tmp/fd"].text.split() == ["0", "1", "2", "3"]
    assert files["/tmp/user"].text.split() == ["CapEff:", "0" * 16, "CapBnd:", "00000000a80425fb"]
    assert files["/tmp/root"].text.split() == ["CapEff:", "00000000a80425fb", "CapBnd:", "00000000a80425fb"]


def test_a_step_cannot_look_into_the_executor(container: Container) -> None:
    """As root, with the capabilities that Docker gives, and a name for the executor: pid 1."""
    container.write(
        "FROM busybox\nRUN for name in environ mem maps fd root cwd exe; do "
        "if [ $name = fd ]; then readlink /proc/1/fd/*; elif [ -L /proc/1/$name ]; then "
        "readlink /proc/1/$name; else dd if=/proc/1/$name of=/dev/null bs=1 count=1; fi 2>/dev/null "
        "&& echo $name >> /seen; done; touch /seen\n"
    )
    assert container.build(options=["--env=TOKEN=secret"]).files["/seen"].text == ""


def test_what_a_step_leaves_behind_is_killed(container: Container) -> None:
    container.write(
        "FROM busybox\n"
        "RUN (setsid sh -c 'while :; do touch /tick; sleep 0.1; done' </dev/null >/dev/null 2>&1 &)"
        "; sleep 0.3\nRUN rm -f /tick; sleep 0.5; ls / > /list; ps > /ps\n"
    )
    files = container.build().files
    assert "tick" not in files["/list"].text
    assert "touch /tick" not in files["/ps"].text


def test_no_network_needs_namespaces(container: Container) -> None:
    container.write("FROM busybox\nRUN --network=none true\n")
    with pytest.raises(RefusedError, match="RUN --network=none can't be run in place"):
        container.build()


def test_a_container_for_one_build_leaves_no_directory_of_its_own(container: Container) -> None:
    container.write(
        "FROM busybox\nRUN mkdir /workspace && chmod 700 /\nFROM busybox\nUSER 1000\nRUN test -e /bin\n"
    )
    assert container.build("--target=0").files["/workspace"].kind == "dir"
    container.build()


@pytest.mark.parametrize("end", ["true", "RUN rm -rf /bin /etc /lib /usr /var /home /root /tmp; exit 1"])
def test_the_shell_that_started_it_goes_on(container: Container, end: str) -> None:
    container.write(f"FROM debian\nRUN touch /bin/new /etc/new /new\n{'' if end == 'true' else end}\n")
    output = container.shell(
        f"echo mine > /root/mine; ln /root/mine /tmp/mine; mkdir here; cd here; {LISTING} > /kaniko/before\n"
        f"$build && echo built; {LISTING} > /kaniko/after; diff /kaniko/before /kaniko/after && echo same\n"
        "[ /root/mine -ef /tmp/mine ] && cat /tmp/mine; pwd; cd ..; ls -d here\n"
    )
    digest = [] if "exit 1" in end else output.splitlines()[:2]
    assert output.splitlines()[len(digest) :] == ["same", "mine", "/workspace/here", "here"]


def test_it_goes_on_after_a_build_that_was_ended(container: Container) -> None:
    container.write("FROM busybox\nRUN touch /kaniko/results/started; sleep 1000\n")
    output = container.shell(
        f"{LISTING} > /kaniko/before; $build & pid=$!\n"
        "until [ -e /kaniko/results/started ]; do sleep 0.1; done; kill -TERM $pid; wait $pid; echo $?\n"
        f"{LISTING} > /kaniko/after; diff /kaniko/before /kaniko/after && echo same; ls /kaniko\n"
    )
    assert output.split() == ["143", "same", *"after before context executor results ssl warmer".split()]


def test_builds_in_one_container_are_as_in_fresh_ones(container: Container) -> None:
    container.write("FROM debian\nRUN echo a > /var/tmp/x; rm /etc/issue; mkdir /made\n")
    fresh = container.build(name="fresh")
    container.shell(
        "$build --oci-layout-path=/kaniko/results/1 && $build --oci-layout-path=/kaniko/results/2 || exit 1"
    )
    for name in ("1", "2"):
        assert compare(fresh, flatten_layout(container.place / "results" / name)) == []


HOSTILE: Mapping[str, Sequence[Member]] = {
    "whiteouts": [
        *(Member(f".wh.{name}") for name in ("workspace", "cache", "tmp", "data", "deep", "etc", "kaniko")),
        *(Member(f".wh.{name}") for name in ("knarr", "proc", "dev", "sys")),
        *(
            Member(name)
            for name in ("deep/.wh.er", "deep/er/.wh.volume", "data/.wh.file", "data/.wh..wh..opq")
        ),
    ],
    "opaque": [Member(".wh..wh..opq"), Member("deep/.wh..wh..opq"), Member("etc/.wh..wh..opq")],
    "files": [
        *(
            Member(name, content=b"x")
            for name in ("workspace", "cache", "tmp", "data", "deep", "kaniko", "knarr")
        ),
        *(Member(name, content=b"x") for name in ("etc", "proc", "dev", "sys")),
    ],
    "links": [
        *(Member(name, "symlink", target="/root") for name in ("workspace", "deep", "data", "etc", "kaniko")),
        *(Member(name, "symlink", target="/nowhere") for name in ("cache", "tmp", "knarr", "proc", "dev")),
    ],
    "write-through": [
        Member("alias", "symlink", target="/data"),
        Member("alias/file", content=b"changed"),
        Member("alias/new", content=b"new"),
        Member("up", "symlink", target="../../../../data/dir"),
        Member("up/file", content=b"changed"),
        Member("alias", "dir", mode=0o700),
        Member("data", "dir", mode=0o700, uid=1234),
        Member("data/dir", "dir", mode=0o700, uid=1234),
        Member("etc/app.conf", content=b"changed"),
        Member("kaniko/executor", content=b"changed"),
        Member("knarr/bin/python3.11", content=b"changed"),
        Member("knarr/app/knarr/version.pyc", content=b"changed"),
    ],
    "hard-links": [
        Member("stolen", "hardlink", target="data/file"),
        Member("stolen", "file", content=b"changed", mode=0o777, uid=99),
        Member("stolen2", "hardlink", target="etc/app.conf"),
        Member("stolen3", "hardlink", target="knarr/bin/python3.11", mode=0o6777, uid=99),
        Member("stolen4", "hardlink", target="etc/resolv.conf", mode=0o777),
    ],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_layer_touches_a_volume(kind: str, container: Container, tmp_path: Path) -> None:
    volumes = make_volumes(tmp_path / "volumes")
    before = look_at(tmp_path / "volumes")
    _push_hostile(container.registry, HOSTILE[kind], tmp_path / kind)
    container.write('FROM debian\nRUN true\nFROM hostile\nUSER 0\nRUN ["/bin/busybox", "touch", "/opt"]\n')
    look = "find /knarr /kaniko/executor -exec stat -c '%n %i %a %u %s %Z' {} +"
    output = container.shell(
        f"{look} > /kaniko/before; $build >&2 && echo built; {look} > /kaniko/after\n"
        "diff /kaniko/before /kaniko/after && echo same",
        volumes,
    )
    assert output.splitlines() == ["built", "same"]
    assert look_at(tmp_path / "volumes") == before
    layers = flatten_layout(container.place / "results/layout").layer_files
    assert layers[-1] == ("/opt",)


@pytest.mark.parametrize("name", [".wh..", ".wh...", "a/.wh...", ".wh."])
def test_a_whiteout_of_a_directory_above_is_refused(name: str, container: Container, tmp_path: Path) -> None:
    volumes = make_volumes(tmp_path / "volumes")
    before = look_at(tmp_path / "volumes")
    _push_hostile(container.registry, [Member("a", "dir"), Member(name)], tmp_path / "base")
    container.write("FROM hostile\nRUN true\n")
    output = container.shell("$build || echo $?; cat /etc/passwd", volumes)
    assert output.splitlines() == ["7", "root:x:0:0:root:/root:/bin/sh"]
    assert look_at(tmp_path / "volumes") == before


def test_volumes_are_no_part_of_the_image(container: Container, tmp_path: Path) -> None:
    volumes = make_volumes(tmp_path / "volumes")
    container.write(
        "FROM busybox\nRUN echo x > /data/more; echo y > /deep/file; chmod 600 /etc/app.conf; ls -d /data\n"
    )
    image = container.build(options=volumes)
    assert image.layer_files[-1] == ("/deep/file",)
    assert (tmp_path / "volumes/data/more").read_text() == "x\n"


def test_a_step_that_works_in_a_volume_is_refused(container: Container, tmp_path: Path) -> None:
    container.write("FROM busybox\nWORKDIR /workspace/app\nRUN true\n")
    volumes = make_volumes(tmp_path / "volumes")
    with pytest.raises(
        RefusedError, match="a step can't work in /workspace/app: /workspace is this container's own"
    ):
        container.build(options=volumes)
    assert container.build(name="elsewhere").layer_files[-1] == ()


def test_secrets_and_caches_are_moved_in(container: Container) -> None:
    container.write(
        "FROM busybox\nRUN echo old > /etc/token\n"
        "RUN --mount=type=secret,id=t,target=/etc/token --mount=type=cache,target=/var/cache/x "
        "cat /etc/token; echo kept > /var/cache/x/file; cp /etc/token /leaked\n"
        "RUN --mount=type=cache,target=/var/cache/x --mount=type=tmpfs,target=/scratch "
        "cat /etc/token /var/cache/x/file > /seen; touch /scratch/x; ! test -e /run/secrets\n"
        "RUN ! test -e /var/cache/x; ! test -e /scratch\n",
        {"secret": "hush"},
    )
    files = container.build("--secret=id=t,src=/kaniko/context/secret").files
    assert files["/seen"].text == "old\nkept\n"
    assert files["/leaked"].text == "hush"
    assert files["/etc/token"].text == "old\n"
    assert not {"/scratch", "/var/cache/x"} & files.keys()


def test_every_file_is_read_where_asked(container: Container) -> None:
    container.write("FROM busybox\nRUN touch /bin/busybox && echo x > /x\nRUN touch /x\n")
    assert container.build("--snapshot-mode=redo").layer_files[1:] == (("/bin/busybox", "/x"), ("/x",))
    assert container.build("--snapshot-mode=full", name="full").files["/x"].text == "x\n"


def test_it_is_refused_outside_an_image(container: Container, tmp_path: Path) -> None:
    container.write("FROM busybox\nRUN true\n")
    result = knarr(["build", str(container.place / "context"), "--no-push", "--isolation=inplace"])
    assert result.returncode == 8
    assert "cannot build in place: this is no container of a knarr image" in result.stderr
    with pytest.raises(RefusedError, match="cannot build in place without the capabilities CHOWN"):
        container.build(options=["--cap-drop=CHOWN"])
    command = ["/kaniko/executor", "--context=/kaniko/context", "--no-push"]
    with pytest.raises(RefusedError, match="cannot build in place as user 1000"):
        container.run(command, ["--user=1000", "--env=HOME=/tmp"])


def _push_hostile(registry: Registry, members: Sequence[Member], place: Path) -> None:
    place.mkdir()
    with (place / "shell.tar").open("wb") as shell, (place / "hostile.tar").open("wb") as hostile:
        busybox = Path("/bin/busybox").read_bytes()
        linked_to = ("data/file", "etc/app.conf", "etc/resolv.conf", "knarr/bin/python3.11")
        write_tar(shell, [Member("bin", "dir"), Member("bin/busybox", content=busybox, mode=0o755)])
        write_tar(hostile, [*map(Member, linked_to), *members])
    environment = {"Env": [f"PATH={os.defpath}"]}
    layers = [place / "shell.tar", place / "hostile.tar", place / "shell.tar"]
    write_layout(place / "layout", [PlatformImage(layers, environment)])
    push([Base("hostile", place / "layout")], registry.host)
