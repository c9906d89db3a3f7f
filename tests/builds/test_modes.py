"""The same Dockerfiles give the same image in every mode: by overlayfs, by scan, as root, as a user."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

import pytest

from support.builds_as import Builder, Result
from support.compare import Names, compare
from support.exec_request import Identity, user_with_subordinate_ids
from support.flatten import FlatImage
from support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.slow]

_ROOT = Identity("root", 0, 0)
_SINGLE_ID = Identity("single id", 54321, 54321)
_MODES = ("scan", "many ids", "many ids, scan", "one id", "one id, scan")

DOCKERFILES = {
    "deletions": """\
FROM layered
RUN rm -rf /data/dir /data/keep /to-data
RUN mkdir /new && echo 1 > /new/1 && echo 2 > /new/2
RUN rm /new/1 && mkdir /gone && echo x > /gone/x
RUN rm -r /new /gone
""",
    "recreated": """\
FROM layered
RUN rm -rf /data/opaque && mkdir /data/opaque && echo n > /data/opaque/n
RUN rm -rf /data/dir && echo file > /data/dir
RUN rm /data/dir && mkdir -m 711 /data/dir && echo again > /data/dir/b
RUN mv /data/becomes-dir /data/moved && mv /data/moved /data/back
""",
    "links": """\
FROM layered
RUN ln /data/keep /data/keep2 && ln -s keep2 /data/soft
RUN ln /data/marked /etc/elsewhere && rm /data/marked
RUN cp -a /data /copy
""",
    "modes": """\
FROM layered
RUN chmod 600 /data/marked && chmod 1777 /data/dir && chmod 2755 /data/becomes-dir
RUN cp /bin/busybox /tmp/su && chmod 6755 /tmp/su
RUN umask 077 && mkdir /private && echo x > /private/file && chmod 0 /private/file && chmod 0 /private
RUN touch -d '2001-02-03 04:05:06' /data/keep
RUN mknod /pipe p && chmod 622 /pipe
RUN chmod 750 /
""",
    "working-directory": """\
FROM layered
WORKDIR /made/here
RUN pwd > where
WORKDIR /to-data/deep
RUN pwd > where && touch ../beside
COPY --chown=12:34 Dockerfile /made/by/copy
""",
    "directory-times": """\
FROM layered
RUN touch -d '2001-02-03 04:05:06' /data /etc /data/dir /tmp /var /
RUN --mount=type=tmpfs,target=/var/made/here --mount=type=cache,target=/data/dir/cache \
    --mount=type=bind,target=/tmp/bound --mount=type=tmpfs,target=/data/opaque true
RUN touch /home/new && rm /home/new && touch -d '2002-03-04 05:06:07' /home
RUN true
""",
    "copies-between-steps": """\
FROM busybox AS tools
RUN mkdir /out && echo tool > /out/tool && chmod 755 /out/tool && ln /out/tool /out/twin
FROM layered
RUN echo one > /data/one
COPY --from=tools --chown=7:8 /out /data/out
RUN rm /data/out/twin && echo >> /data/out/tool
COPY --from=tools /out/twin /data/out/tool
""",
}
OWNERS = """\
FROM layered
RUN chown 5:6 /data/keep && chown -h 7:8 /to-data && chown -R 1000:50 /data/dir
RUN cp /bin/busybox /tmp/su && chmod 6755 /tmp/su && chown 1000:50 /tmp/su
RUN cp /bin/busybox /tmp/su2 && chown 1000:50 /tmp/su2 && chmod 6755 /tmp/su2
USER app
WORKDIR /home/app/work
RUN id > id && touch mine && mkdir made
WORKDIR /home/app/later
USER 4000:5000
RUN id > /tmp/id
"""
PROBE = """\
FROM bare
RUN ["/bin/busybox", "sh", "-ec", "\\
b=/bin/busybox; \\
$b test -e /proc/self/status; $b test -d /dev/pts; $b test -d /dev/shm; $b test -w /dev/null; \\
$b test -s /etc/hosts; $b test -e /etc/resolv.conf; $b ls -d /sys/class; \\
echo x > /dev/shm/x; echo y > /dev/null; $b head -c 4 /dev/zero | $b od > /seen"]
RUN ["/bin/busybox", "sh", "-ec", "/bin/busybox rm -f /etc/no; echo mine > /kept"]
"""


@contextmanager
def _on_overlay(place: Path, work: Path) -> Iterator[None]:
    """Put the directory of work on an overlay, on which the kernel allows no other."""
    parts = {name: place / f"overlay-{name}" for name in ("lower", "upper", "work")}
    for path in parts.values():
        path.mkdir()
    options = ",".join(f"{name}dir={path}" for name, path in parts.items())
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, work], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", work], check=True)


@pytest.fixture(scope="module")
def identities() -> Iterator[dict[str, Identity]]:
    with user_with_subordinate_ids("knarr-test-modes") as many:
        yield {"root": _ROOT, "scan": _ROOT, "many ids": many, "one id": _SINGLE_ID}


MakeBuilder = Callable[[str], Builder]


@pytest.fixture
def make_builder(base_registry: Registry, identities: dict[str, Identity]) -> Iterator[MakeBuilder]:
    """Gives a builder of a mode; a name that ends in `scan` is one without overlayfs."""
    with ExitStack() as exits:

        def make(mode: str) -> Builder:
            # Not pytest's directory, which other users may not pass through.
            place = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="knarr-test-")))
            place.chmod(0o755)
            builder = Builder(identities[mode.partition(",")[0]], place, base_registry.host, place / "work")
            builder.context.mkdir()
            builder.work.mkdir()
            if mode.endswith("scan"):
                exits.enter_context(_on_overlay(place, builder.work))
            builder.own(place)
            return builder

        yield make


def _build(builder: Builder, dockerfile: str) -> Result:
    builder.write({"Dockerfile": dockerfile})
    return builder.build(dockerfile)


@pytest.fixture(scope="module")
def known() -> dict[str, FlatImage]:
    """What root builds with overlayfs, as far as it was built."""
    return {}


def _expected(dockerfile: str, make_builder: MakeBuilder, known: dict[str, FlatImage]) -> FlatImage:
    if dockerfile not in known:
        result = _build(make_builder("root"), dockerfile)
        assert "root with CAP_SYS_ADMIN; changes by overlayfs" in result.output
        known[dockerfile] = result.image
    return known[dockerfile]


def _check_mode(mode: str, result: Result) -> None:
    assert ("changes by scan" in result.output) == mode.endswith("scan"), result.output
    assert ("one id only" in result.output) == mode.startswith("one id"), result.output
    assert ("user namespace" in result.output) == (mode != "scan"), result.output


def _differences(expected: FlatImage, image: FlatImage, mode: str) -> list[str]:
    """How an image differs; with one id only, what a step made may belong to 0 where it should not."""
    files = {PurePosixPath(path) for layer in image.layer_files[1:] for path in layer}
    made = {*files, *(directory for path in files for directory in path.parents)}
    lines = compare(expected, image, names=Names("overlay", mode))
    if mode.startswith("one id"):
        owners = {f"{path}: {kind}" for path in made for kind in ("uid", "gid")}
        lines = [
            line
            for line in lines
            if not (line.rpartition(": ")[0] in owners and line.endswith(f", {mode} 0"))
        ]
    return lines


@pytest.mark.parametrize("name", DOCKERFILES)
@pytest.mark.parametrize("mode", _MODES)
def test_same_image_in_every_mode(
    name: str, mode: str, make_builder: MakeBuilder, known: dict[str, FlatImage]
) -> None:
    expected = _expected(DOCKERFILES[name], make_builder, known)
    result = _build(make_builder(mode), DOCKERFILES[name])
    _check_mode(mode, result)
    assert _differences(expected, result.image, mode) == []


@pytest.mark.parametrize("mode", ["scan", "many ids", "many ids, scan"])
def test_same_owners(mode: str, make_builder: MakeBuilder, known: dict[str, FlatImage]) -> None:
    expected = _expected(OWNERS, make_builder, known)
    result = _build(make_builder(mode), OWNERS)
    _check_mode(mode, result)
    assert _differences(expected, result.image, mode) == []


AS_BELOW = """\
FROM layered
RUN chown -R 1000:1000 /data/keep && chown -R 0:0 /bin && chmod -R a+rX /bin && chmod 644 /data/pair1
COPY --chown=5:6 Dockerfile /copied/a
COPY --chown=5:6 Dockerfile /copied/a
COPY --chown=5:6 --link Dockerfile /copied/a
RUN chown -R 5:6 /copied && cp -p /copied/a /copied/b && mv /copied/b /copied/a
RUN ln /copied/a /copied/b
RUN touch -r /copied/a /then && sed -i s/FROM/from/ /copied/a && touch -r /then /copied/a
"""


@pytest.mark.parametrize("mode", ["root", "scan", "many ids", "many ids, scan"])
def test_what_the_layers_below_have_is_in_no_layer(mode: str, make_builder: MakeBuilder) -> None:
    """As BuildKit of August 2026 has it; but there `ln` makes a file of its own."""
    image = _build(make_builder(mode), AS_BELOW).image
    assert image.layer_files[3:] == (
        (),
        ("/copied/a",),
        (),
        ("/copied/a",),
        (),
        ("/copied/a", "/copied/b"),
        ("/copied/a", "/then"),
    )


@pytest.mark.parametrize("mode", ["one id", "one id, scan"])
def test_owners_that_no_step_changes_are_kept_with_one_id(mode: str, make_builder: MakeBuilder) -> None:
    dockerfile = "FROM layered\nRUN chmod 600 /data/keep\nCOPY --chown=12:34 Dockerfile /copied\n"
    files = _build(make_builder(mode), f"{dockerfile}RUN chmod 600 /copied\n").image.files
    assert (files["/data/keep"].uid, files["/data/keep"].gid, files["/data/keep"].mode) == (1000, 1000, 0o600)
    assert (files["/data"].uid, files["/data"].gid, files["/data"].mode) == (1000, 50, 0o2775)
    assert (files["/copied"].uid, files["/copied"].gid, files["/copied"].mode) == (12, 34, 0o600)


@pytest.mark.parametrize(("mode", "text"), [("root", "pair\n"), ("scan", "pair\nmore\n")])
def test_change_of_a_file_with_two_names(mode: str, text: str, make_builder: MakeBuilder) -> None:
    """overlayfs parts the names of a file in a lower layer that is written to, here as in Docker."""
    files = _build(make_builder(mode), "FROM layered\nRUN echo more >> /data/pair1\n").image.files
    assert files["/data/pair1"].text == "pair\nmore\n"
    assert files["/data/pair2"].text == text


@pytest.mark.parametrize("mode", ["root", "scan", "one id, scan"])
def test_file_that_loses_a_name(mode: str, make_builder: MakeBuilder) -> None:
    files = _build(make_builder(mode), "FROM layered\nRUN rm /data/pair1\n").image.files
    assert "/data/pair1" not in files
    assert (files["/data/pair2"].text, files["/data/pair2"].hard_links) == ("pair\n", ())


@pytest.mark.parametrize("mode", ["one id", "one id, scan"])
def test_change_of_owner_is_refused_with_one_id(mode: str, make_builder: MakeBuilder) -> None:
    result = _build(make_builder(mode), "FROM layered\nRUN chown 5:6 /data/keep\n")
    assert result.returncode == 1
    assert "chown: /data/keep: " in result.output


@pytest.mark.parametrize("mode", ["one id", "one id, scan"])
def test_user_of_a_step_is_the_one_asked_for_with_one_id(mode: str, make_builder: MakeBuilder) -> None:
    result = _build(make_builder(mode), "FROM layered\nUSER app\nRUN id -u > /tmp/id && id -g >> /tmp/id\n")
    assert result.text("/tmp/id") == "1000\n1000\n"


@pytest.mark.parametrize("mode", [mode for mode in _MODES if mode != "scan"])
def test_device_is_refused_to_a_user(mode: str, make_builder: MakeBuilder) -> None:
    result = _build(make_builder(mode), "FROM busybox\nRUN mknod /zero c 1 5\n")
    assert result.returncode == 1
    assert "mknod: /zero: Operation not permitted" in result.output


@pytest.mark.parametrize("mode", ["root", "scan"])
def test_device_made_by_root_is_in_the_image(mode: str, make_builder: MakeBuilder) -> None:
    files = _build(make_builder(mode), "FROM busybox\nRUN mknod /zero c 1 5\n").image.files
    assert (files["/zero"].kind, files["/zero"].device) == ("char", "1:5")


DEVICES = """\
FROM busybox
RUN mkdir -p /ch/dev /ch/bin && cp /bin/busybox /ch/bin && mknod /ch/dev/null c 1 3
RUN mknod /ch/dev/zero c 1 5 && chroot /ch /bin/busybox sh -ec \\
    "b=/bin/busybox; echo x > /dev/null; \\$b head -c 3 /dev/zero | \\$b wc -c > /count"
RUN mknod /dev/again c 1 5 && head -c 4 /dev/again | wc -c > /ch/again
RUN --mount=type=tmpfs,target=/tmpfs mknod /tmpfs/zero c 1 5 && head -c 5 /tmpfs/zero | wc -c > /ch/tmpfs
RUN mknod /disk b 254 0; mknod /memory c 1 1; \\
    for f in /disk /memory; do head -c 1 $f 2>> /ch/refused || true; done
"""


@pytest.mark.parametrize("mode", ["root", "scan"])
def test_device_nodes_work_for_root(mode: str, make_builder: MakeBuilder) -> None:
    """The usual ones, as with BuildKit of August 2026; others can be made, and not opened."""
    result = _build(make_builder(mode), DEVICES)
    texts = {name: result.text(f"/ch/{name}") for name in ("count", "again", "tmpfs")}
    assert texts == {"count": "3\n", "again": "4\n", "tmpfs": "5\n"}
    assert result.text("/ch/refused").count("Operation not permitted") == 2
    assert result.image.files["/disk"].device == "254:0"


@pytest.mark.parametrize("mode", ["root", "scan", "many ids", "one id"])
def test_control_groups_are_seen_and_not_changed(mode: str, make_builder: MakeBuilder) -> None:
    """As runc has it for BuildKit."""
    script = "find /sys/fs/cgroup -name cgroup.procs | head -n 1; mkdir /sys/fs/cgroup/made 2>&1 || true"
    text = _build(make_builder(mode), f"FROM busybox\nRUN ({script}) > /seen\n").text("/seen")
    assert text.startswith("/sys/fs/cgroup/")
    assert "Read-only file system" in text or "Permission denied" in text


@pytest.mark.parametrize("options", ["noexec,nosuid,nodev", "noexec"])
def test_a_work_directory_where_nothing_may_be_executed(options: str, make_builder: MakeBuilder) -> None:
    """The root of a step is a mount of its own, and so is the script of a heredoc."""
    builder = make_builder("root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", builder.work], check=True)
    try:
        result = _build(builder, "FROM busybox\nRUN <<EOF\n#!/bin/sh\necho $0 > /seen\nEOF\n")
        assert result.text("/seen") == "/dev/pipes/EOF\n"
    finally:
        subprocess.run(["umount", builder.work], check=True)


@pytest.mark.parametrize("mode", ["root", *_MODES])
def test_what_a_step_is_lent_is_not_in_the_image(mode: str, make_builder: MakeBuilder) -> None:
    image = _build(make_builder(mode), PROBE).image
    assert sorted(path for path in image.files if path != "/") == [
        "/bin",
        "/bin/busybox",
        "/kept",
        "/seen",
    ]
    assert image.layer_files[1:] == (("/seen",), ("/kept",))
