"""What the executor opens while a build in place has the image's files in `/`: none by its path."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.executor_root import extract_executor
from support.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.root]

DOCKER_CAPABILITIES = (
    *("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *("net_bind_service", "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap"),
)
DOCKERFILE = """\
FROM debian AS first
COPY Dockerfile /copied
RUN useradd -m user && echo first > /first
USER user
RUN id -u > /tmp/id
FROM busybox
COPY --from=first /first /tmp/id /from/
RUN cat /from/first > /second
RUN exit 7
"""
ALLOWED = re.compile(r"/|/dev/null|/etc/(resolv\.conf|hosts)|/proc/.*|/kaniko(/knarr-.*)?")
KEPT_FILES = re.compile(r"/kaniko/knarr-[^/]*")  # they go into a file without a name in this directory
CALL = re.compile(r'^(\d+) +open(?:at2?)?\((?:(AT_FDCWD|\d+)[^,]*, )?"((?:[^"\\]|\\.)*)", (.*)$')
CLONE = re.compile(r"^(\d+) +(?:clone3?|vfork|fork)\((.*)$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (?:clone3?|vfork|fork) resumed>(.*)$")


def test_nothing_is_opened_by_a_path_of_the_image(
    archives: Path, base_registry: Registry, tmp_path: Path
) -> None:
    with _container_root(archives / "executor.tar") as root:
        (root / "workspace/Dockerfile").write_text(DOCKERFILE)
        status, trace = _traced(root, base_registry, tmp_path / "trace")
        assert status == 7
        assert (root / "etc/passwd").read_text() == "root:x:0:0:root:/root:/bin/sh\n"
    opened = _opened_by_executor(trace)
    start = next(at for at, (path, flags) in enumerate(opened) if _is_kept_files(path, flags))
    assert len(opened) > start + 20
    assert sorted({path for path, _ in opened[start:] if not ALLOWED.fullmatch(path)}) == []


@contextmanager
def _container_root(archive: Path) -> Iterator[Path]:
    """The image's files in a directory of memory."""
    with tempfile.TemporaryDirectory(prefix="knarr-root-", dir="/dev/shm") as place:
        root = Path(place, "root")
        extract_executor(archive, root)
        yield root


def _traced(root: Path, registry: Registry, trace: Path) -> tuple[int, str]:
    """Build in there, as root in namespaces of its own, with the capabilities of a container."""
    capabilities = ",".join(["-all", *(f"+{name}" for name in DOCKER_CAPABILITIES)])
    script = f"""
        mount --bind {root} {root} && cd {root} || exit 99
        mount -t proc proc proc && mount -t tmpfs tmpfs dev || exit 99
        for name in null zero urandom; do touch dev/$name; mount --bind /dev/$name dev/$name; done
        exec strace -f -qq -o {trace} -e trace=open,openat,openat2,clone,clone3,fork,vfork -s 400 \\
            setpriv --bounding-set {capabilities} --inh-caps -all chroot {root} "$@"
    """
    arguments = ["--isolation=inplace", "--no-push", f"--registry-map=docker.io={registry.host}"]
    command = ["unshare", "--mount", "--uts", "--propagation=private", "sh", "-c", script, "sh"]
    result = subprocess.run(
        [*command, "/kaniko/executor", *arguments, "--oci-layout-path=/kaniko/layout"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert "RUN exit 7" in result.stderr, result.stderr
    return result.returncode, trace.read_text(errors="replace")


def _is_kept_files(path: str, flags: str) -> bool:
    return "O_TMPFILE" in flags and KEPT_FILES.fullmatch(path) is not None


def _opened_by_executor(trace: str) -> list[tuple[str, str]]:
    """Paths with flags that its threads gave to the kernel, in order, without those below a descriptor."""
    lines = trace.splitlines()
    threads = {lines[0].split()[0]}
    pending: dict[str, bool] = {}
    opened = []
    for line in lines:
        if (call := CALL.match(line)) and call[1] in threads:
            if call[2] in (None, "AT_FDCWD") or call[3].startswith("/"):
                opened.append((call[3], call[4]))
        elif clone := CLONE.match(line):
            _note_thread(threads, pending, clone[1], clone[2], is_thread="CLONE_THREAD" in clone[2])
        elif resumed := RESUMED.match(line):
            is_thread = pending.pop(resumed[1], False) or "CLONE_THREAD" in resumed[2]
            _note_thread(threads, pending, resumed[1], resumed[2], is_thread=is_thread)
    return opened


def _note_thread(
    threads: set[str], pending: dict[str, bool], caller: str, rest: str, *, is_thread: bool
) -> None:
    child = re.search(r"= (\d+)$", rest)
    if child is None:
        pending[caller] = is_thread
    elif caller in threads and is_thread:
        threads.add(child[1])
