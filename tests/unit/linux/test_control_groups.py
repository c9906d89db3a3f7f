"""Where this process's control groups are, by the texts of proc(5) on machines of every sort."""

from pathlib import Path

import pytest

from knarr.linux.control_groups import parse_own_groups, read_own_groups
from knarr.linux.device_group import device_program, make_device_group

UNIFIED = "30 24 0:26 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
LEGACY = """\
31 30 0:27 {root} /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
32 30 0:28 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 {root} /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /mnt rw - ext4 /dev/vda rw
"""
MEMBER = "12:cpu,cpuacct:/a/b\n5:devices:/a/b\n1:name=systemd:/a/b\n0::/u\n"


@pytest.mark.parametrize(
    ("mountinfo", "membership", "groups"),
    [
        (UNIFIED.format(root="/"), "0::/\n", ["/sys/fs/cgroup"]),
        (UNIFIED.format(root="/"), "0::/system.slice/x\n", ["/sys/fs/cgroup/system.slice/x"]),
        (UNIFIED.format(root="/pod/c"), "0::/pod/c\n", ["/sys/fs/cgroup"]),
        (UNIFIED.format(root="/pod/c"), "0::/pod/c/d\n", ["/sys/fs/cgroup/d"]),
        (UNIFIED.format(root="/pod/c"), "0::/pod/cd\n", []),
        (UNIFIED.format(root="/"), "0::/../x\n", []),
        (UNIFIED.format(root="/../.."), "0::/\n", []),
        (UNIFIED.format(root="/"), "", []),
        (
            LEGACY.format(root="/"),
            MEMBER,
            [
                "/sys/fs/cgroup/devices/a/b",
                "/sys/fs/cgroup/cpu,cpuacct/a/b",
                "/sys/fs/cgroup/systemd/a/b",
            ],
        ),
        (LEGACY.format(root="/a"), "5:devices:/a/b\n", ["/sys/fs/cgroup/devices/b"]),
        ("nonsense\n1 2 3 - cgroup\n", "nonsense", []),
    ],
)
def test_places(mountinfo: str, membership: str, groups: list[str]) -> None:
    assert [str(group.path) for group in parse_own_groups(mountinfo, membership)] == groups


def test_which_is_unified() -> None:
    groups = list(parse_own_groups(UNIFIED.format(root="/") + LEGACY.format(root="/"), MEMBER))
    assert [group.is_unified for group in groups] == [True, False, False, False]
    assert groups[1].controllers == {"devices"}


def test_own_of_this_machine() -> None:
    assert all(
        group.path.is_dir() for group in read_own_groups() if group.mount_point == Path("/sys/fs/cgroup")
    )


def test_no_group_where_there_is_none(tmp_path: Path) -> None:
    assert make_device_group([]) is None
    away = list(
        parse_own_groups(UNIFIED.format(root="/").replace("/sys/fs/cgroup", f"{tmp_path}/gone"), "0::/")
    )
    assert make_device_group(away) is None


def test_jumps_of_the_rules_end_in_them() -> None:
    program = device_program()
    count = len(program) // 8
    for index in range(count):
        code = program[index * 8]
        offset = int.from_bytes(program[index * 8 + 2 : index * 8 + 4], "little", signed=True)
        if code in (0x15, 0x55):
            assert 0 < index + 1 + offset < count
