"""The mounts of a RUN step: what it sees, what it can't change, where hostile links can't lead."""

import os
import stat
from pathlib import Path

import pytest

from knarr.exec.mounts import MOUNT_POINTS
from support.exec_request import Executor, Outcome

pytestmark = pytest.mark.root


def fine(outcome: Outcome) -> str:
    assert outcome.error is None
    assert outcome.code == 0, outcome.output
    return outcome.output


def test_stub_paths_are_what_the_mounts_need(root_executor: Executor) -> None:
    for path, mode in MOUNT_POINTS:
        assert stat.S_IFMT((root_executor.root / path).stat().st_mode) == stat.S_IFMT(mode)


def test_devices(executor: Executor) -> None:
    script = """
        set -e
        echo gone > /dev/null
        head -c 3 /dev/zero > /tmp/zeros; head -c 3 /dev/urandom > /tmp/noise
        ! echo full > /dev/full 2> /dev/null
        echo out > /dev/stdout; echo err > /dev/stderr
        [ -c /dev/pts/ptmx ]; [ -c /dev/ptmx ]; [ -d /dev/mqueue ]
        touch /dev/shm/x
        [ "$(readlink /dev/fd)" = /proc/self/fd ]
        stat -c %a /dev/shm; hostname
    """
    assert fine(executor.shell(script)).splitlines()[-2:] == ["1777", "buildkitsandbox"]
    assert list((executor.root / "dev").iterdir()) == []


def test_output_can_be_reopened_by_a_user(executor: Executor) -> None:
    script = "readlink /proc/self/fd/1 | head -c 4; echo x > /dev/stdout; echo y > /dev/stderr"
    assert fine(executor.shell(script, uid=1000, gid=100)) == "pipex\ny\n"


def test_resolver_files(executor: Executor) -> None:
    assert (
        fine(executor.shell("cat /etc/resolv.conf /etc/hosts"))
        == "nameserver 192.0.2.53\n192.0.2.1 example\n"
    )
    script = (
        "echo x > /etc/hosts; echo x >> /etc/resolv.conf; rm /etc/hosts; umount /etc/hosts; cat /etc/hosts"
    )
    assert executor.shell(script).output.endswith("192.0.2.1 example\n")
    assert (executor.root / "etc/hosts").read_text() == ""
    assert (executor.place / "hosts").read_text() == "192.0.2.1 example\n"


def test_missing_targets_are_left_out(executor: Executor) -> None:
    for name in ("etc/hosts", "etc/resolv.conf"):
        (executor.root / name).unlink()
    for name in ("dev", "proc", "sys", "etc"):
        (executor.root / name).rmdir()
    before = set(executor.root.iterdir())
    assert fine(executor.shell("echo here")) == "here\n"
    assert set(executor.root.iterdir()) == before


def test_kernel_files_are_protected(executor: Executor) -> None:
    script = """
        for f in /proc/sys/kernel/hostname /proc/sysrq-trigger; do (echo b > $f) 2>&1; done
        for f in /proc/kcore /proc/keys /proc/timer_list; do [ ! -e $f ] || cat $f; done
        ls /sys/firmware /proc/acpi /proc/scsi 2> /dev/null | grep -v :
        touch /sys/x 2>&1
        mount -t tmpfs none /tmp 2>&1; umount /proc/sys 2>&1; mount -o remount,rw /proc/sys 2>&1
        echo done
    """
    lines = executor.shell(script).output.splitlines()
    assert lines[-1] == "done"
    refused = (
        "Read-only file system",
        "ermission denied",
        "not permitted",
        "must be superuser",
        "nonexistent",
    )
    assert [line for line in lines[:-1] if line and not any(word in line for word in refused)] == []
    assert len(lines) >= 6


def test_a_made_device_can_not_be_opened(root_executor: Executor) -> None:
    script = "mknod /disk b 1 0 && mknod /mem c 1 1 && mknod /dev/mem2 c 1 5; cat /disk /mem /dev/mem2"
    output = root_executor.shell(script).output
    assert output.count("Permission denied") == 3
    for name in ("disk", "mem"):
        assert (root_executor.root / name).exists()


# A link in the image, where it points, the mount that the step must then see, if any.
HOSTILE = (
    ("dev", "/victim", "/victim"),
    ("dev", "../victim", "/victim"),
    ("dev", "../../../../../victim", "/victim"),
    ("dev", "/proc", None),
    ("dev", "/missing", None),
    ("proc", "../victim", "/victim"),
    ("proc", "../../../../../../tmp", "/tmp"),
    ("sys", "../victim", "/victim"),
    ("etc/resolv.conf", "../../victim/file", "/victim/file"),
    ("etc/resolv.conf", "/../../../victim/file", "/victim/file"),
    ("etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf"),
    ("etc/resolv.conf", "resolv.conf", "/etc/resolv.conf"),
    ("etc/resolv.conf", "../../victim", "/etc/resolv.conf"),
    ("etc/hosts", "/proc/self/environ", "/etc/hosts"),
    ("etc/hosts", "/dev/null", "/etc/hosts"),
    ("etc", "../victim", None),
)


@pytest.mark.parametrize(("link", "target", "mounted"), HOSTILE)
def test_hostile_links_do_not_lead_outside(
    executor: Executor, link: str, target: str, mounted: str | None
) -> None:
    # What the link names inside the root, besides what it would name outside.
    inside, outside = executor.root / "victim", executor.place / "victim"
    for directory in (inside, outside):
        directory.mkdir()
        (directory / "file").write_text("untouched")
        executor.adopt(directory, directory / "file")
    if link == "etc":
        (executor.root / "etc").rename(executor.root / "etc.old")
    elif (executor.root / link).is_dir():
        (executor.root / link).rmdir()
    else:
        (executor.root / link).unlink()
    (executor.root / link).symlink_to(target)
    outcome = executor.shell("echo ran; cat /etc/resolv.conf; cat /proc/self/mountinfo")
    assert outcome.error is None
    assert outcome.output.startswith("ran\n")
    if mounted is not None:
        assert f" {mounted} " in outcome.output
    if link == "etc/resolv.conf":
        assert "nameserver 192.0.2.53" in outcome.output
    for directory in (inside, outside):
        assert os.listdir(directory) == ["file"]
        assert (directory / "file").read_text() == "untouched"


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
def test_a_link_to_the_root_itself_is_refused(executor: Executor, name: str) -> None:
    (executor.root / name).rmdir()
    (executor.root / name).symlink_to("/")
    error = executor.run("true").error
    assert error is not None
    assert error["type"] == "IsolationError"
    assert "symbolic link to the root itself" in error["message"]


def mount(
    target: str, source: Path | None = None, *, readonly: bool = False, options: str = ""
) -> dict[str, object]:
    return {
        "target": target,
        "source": str(source) if source else None,
        "readonly": readonly,
        "options": [options] if options else [],
    }


def test_the_steps_own_mounts(executor: Executor) -> None:
    source = executor.place / "source"
    (source / "below").mkdir(parents=True)
    (source / "file").write_text("content\n")
    (executor.root / "mnt").mkdir()
    (executor.root / "rw").mkdir()
    (executor.root / "scratch").mkdir()
    executor.adopt(source, source / "below", source / "file")
    mounts = (
        mount("/mnt", source, readonly=True),
        mount("/rw", source),
        mount("/scratch", options="mode=700,size=1m"),
        mount("/dev/pipes/EOF", source / "file", readonly=True),
    )
    script = """
        cat /mnt/file /dev/pipes/EOF
        (echo x > /mnt/below/x) 2> /dev/null || echo read-only
        (echo x > /dev/pipes/EOF) 2> /dev/null || echo read-only
        echo y > /rw/y; stat -c %a /scratch; echo z > /scratch/z
    """
    assert fine(executor.shell(script, mounts=mounts)).split() == [
        *["content"] * 2,
        *["read-only"] * 2,
        "700",
    ]
    assert (source / "y").read_text() == "y\n"
    assert list((executor.root / "scratch").iterdir()) == []


def test_a_mount_without_target(root_executor: Executor) -> None:
    error = root_executor.run("true", mounts=(mount("/missing"),)).error
    assert error is not None
    assert "make the step's own mounts at /missing" in error["message"]


def test_no_network(executor: Executor) -> None:
    output = fine(executor.shell("ip -o link; ip -o addr", network="none"))
    assert "LOOPBACK,UP" in output
    assert len({line.split()[1].rstrip(":") for line in output.splitlines()}) == 1
