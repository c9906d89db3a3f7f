"""Overlay mounts: many layers, changes in the upper directory, odd names."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support.exec_request import Executor

pytestmark = pytest.mark.root


def make_layers(executor: Executor, count: int, names: str = "layer {}") -> list[str]:
    """Directories topmost first, each with a file of its own; the busybox root is the lowest."""
    layers = []
    for number in range(count):
        layer = executor.place / names.format(number)
        layer.mkdir()
        (layer / f"file{number}").write_text(f"{number}\n")
        (layer / "same").write_text(f"{number}\n")
        executor.adopt(layer, layer / f"file{number}", layer / "same")
        layers.append(str(layer))
    return [*layers, str(executor.root)]


def changes(executor: Executor, **names: str) -> dict[str, str]:
    paths = {name: executor.place / value for name, value in names.items()}
    for path in paths.values():
        path.mkdir()
        executor.adopt(path)
    return {name: str(path) for name, path in paths.items()}


def test_many_layers(executor: Executor) -> None:
    layers = make_layers(executor, 120)
    places = changes(executor, root="merged", upper="upper", work="work")
    outcome = executor.shell("cat /same /file0 /file119; echo /file* ; touch /new", lowers=layers, **places)
    assert outcome.error is None
    assert outcome.output.split()[:3] == ["0", "0", "119"]
    assert len(outcome.output.split()) == 123
    assert os.listdir(executor.place / "upper") == ["new"]
    assert os.listdir(executor.place / "merged") == []


def test_the_upper_directory_is_the_difference(executor: Executor) -> None:
    base = executor.root
    (base / "old").mkdir()
    (base / "old/below").touch()
    (base / "etc/gone").touch()
    executor.adopt(base / "old", base / "old/below", base / "etc/gone")
    places = changes(executor, root="merged", upper="upper", work="work")
    script = "rm /etc/gone; rm -r /old; mkdir /old; echo x > /old/new; chmod 700 /tmp; mv /bin/dd /bin/dd2"
    outcome = executor.shell(script, lowers=[*make_layers(executor, 1)], **places)
    assert (outcome.code, outcome.output) == (0, "")
    upper = executor.place / "upper"
    whiteout = (upper / "etc/gone").lstat()
    assert stat.S_ISCHR(whiteout.st_mode)
    assert whiteout.st_rdev == 0
    marker = "user" if outcome.namespaces["in_user_namespace"] else "trusted"
    assert os.getxattr(upper / "old", f"{marker}.overlay.opaque") == b"y"
    assert os.listdir(upper / "old") == ["new"]
    assert stat.S_IMODE((upper / "tmp").stat().st_mode) == 0o700
    assert os.readlink(upper / "bin/dd2") == "busybox"
    assert sorted(os.listdir(base / "bin")) == sorted({*os.listdir(base / "bin"), "dd"})


@pytest.mark.parametrize("count", [0, 2])
def test_a_view_without_upper_is_read_only(executor: Executor, count: int) -> None:
    layers = make_layers(executor, count)
    places = changes(executor, root="merged")
    outcome = executor.shell("touch /x; echo $?; cat /same", lowers=layers, **places)
    assert "Read-only file system" in outcome.output
    if count:
        assert outcome.output.endswith("1\n0\n")


def test_names_that_mount_options_would_split(executor: Executor) -> None:
    layers = make_layers(executor, 3, "a:b,c\\d=e \"{}'" + "long" * 40)
    places = changes(executor, root="merged,x:y", upper="up,per:\\", work="wo,rk:")
    outcome = executor.shell("cat /same /file2; touch /new", lowers=layers, **places)
    assert (outcome.code, outcome.output) == (0, "0\n2\n")
    assert os.listdir(places["upper"]) == ["new"]


def test_made_devices_can_not_be_opened(root_executor: Executor) -> None:
    places = changes(root_executor, root="merged", upper="upper", work="work")
    outcome = root_executor.shell("mknod /m c 1 1; cat /m", lowers=make_layers(root_executor, 1), **places)
    assert "Permission denied" in outcome.output


LEGACY = """
import sys
from pathlib import Path
from knarr.exec import namespaces
from knarr.linux import overlay
namespaces.enter()
lowers = [Path(path) for path in sys.argv[4:]]
upper, work, target = (Path(path) for path in sys.argv[1:4])
with overlay._open_layers(lowers, upper, work, overlay._PLAIN_OPTIONS) as layers:
    overlay.mount_by_options(layers, target)
(target / "new").touch()
print((target / "same").read_text(), len(list(target.iterdir())))
overlay.unmount(target)
print(list(target.iterdir()))
"""


@pytest.mark.parametrize("count", [2, 400])
def test_through_mount_options(root_executor: Executor, count: int) -> None:
    layers = make_layers(root_executor, count)[:-1]
    places = changes(root_executor, upper="upper", work="work", target="merged")
    result = subprocess.run(
        [sys.executable, "-c", LEGACY, *places.values(), *layers],
        env={"PYTHONPATH": str(root_executor.place / "package")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == f"0\n {count + 2}\n[]\n", result.stderr
    assert (Path(places["upper"]) / "new").exists()


def test_too_many_layers(root_executor: Executor) -> None:
    places = changes(root_executor, root="merged")
    error = root_executor.run("true", lowers=[str(root_executor.root)] * 501, **places).error
    assert error is not None
    assert "501 layers" in error["message"]
