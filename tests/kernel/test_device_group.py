"""Rules for devices, in both versions of control groups that this machine has."""

import subprocess
import sys
from pathlib import Path

import pytest

from knarr.linux.control_groups import OwnGroup, read_own_groups

pytestmark = pytest.mark.root

SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from knarr.linux.control_groups import OwnGroup
from knarr.linux.device_group import make_device_group, refuses_unknown_devices
place, mount_point, path, *controllers = sys.argv[1:]
group = make_device_group([OwnGroup(Path(mount_point), Path(path), frozenset(controllers))])
assert group is not None
child = os.fork()
if child == 0:
    group.members.write_text("0")
    devices = [("c", 1, 3), ("c", 1, 5), ("c", 1, 9), ("c", 1, 1), ("c", 10, 200), ("b", 7, 0)]
    for kind, major, minor in devices:
        node = f"{place}/node"
        subprocess.run(["mknod", node, kind, str(major), str(minor)], check=True)
        try:
            os.close(os.open(node, os.O_RDONLY))
            print("open", kind, major, minor)
        except OSError as error:
            print(error.strerror, kind, major, minor)
        os.unlink(node)
    print(refuses_unknown_devices(Path(place)), flush=True)
    os._exit(0)
os.waitpid(child, 0)
group.close()
print(group.path.exists(), os.listdir(place))
"""


def ruling_groups() -> list[OwnGroup]:
    return [group for group in read_own_groups() if group.is_unified or "devices" in group.controllers]


@pytest.mark.skipif(not ruling_groups(), reason="needs a control group that rules for devices")
@pytest.mark.parametrize(
    "group", ruling_groups(), ids=lambda group: "version 2" if group.is_unified else "version 1"
)
def test_any_node_may_be_made_and_the_usual_ones_opened(group: OwnGroup, tmp_path: Path) -> None:
    arguments = [tmp_path, group.mount_point, group.path, *group.controllers]
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout.splitlines() == [
        "open c 1 3",
        "open c 1 5",
        "open c 1 9",
        "Operation not permitted c 1 1",
        "Operation not permitted c 10 200",
        "Operation not permitted b 7 0",
        "True",
        "False []",
    ], result.stderr
