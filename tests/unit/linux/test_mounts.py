"""Mount points as the kernel tells them."""

from knarr.linux.mounts import parse_mount_points, read_mount_points

MOUNTINFO = rb"""
22 1 0:21 / / rw,relatime - overlay overlay rw,lowerdir=/x
23 22 0:22 / /proc rw,nosuid - proc proc rw
24 22 8:1 /volumes/a /with\040space/and\011tab rw - ext4 /dev/sda1 rw
25 22 8:1 /b /back\134slash rw shared:1 master:2 - ext4 /dev/sda1 rw
26 22 8:1 /c /line\012feed rw - ext4 /dev/sda1 rw
27 22 8:1 /hosts /etc/hosts rw - ext4 /dev/sda1 rw
"""
NOT_ASCII = (
    b"28 22 8:1 /d /caf\xc3\xa9 rw - ext4 /dev/sda1 rw\n29 22 8:1 /e /raw\xff rw - ext4 /dev/sda1 rw\n"
)


def test_all_but_the_root_with_their_escapes_undone() -> None:
    assert parse_mount_points(MOUNTINFO + NOT_ASCII) == {
        "/proc",
        "/with space/and\ttab",
        "/back\\slash",
        "/line\nfeed",
        "/etc/hosts",
        "/café",
        "/raw\udcff",
    }


def test_those_of_this_process() -> None:
    assert "/proc" in read_mount_points()
    assert "/" not in read_mount_points()
