"""An executor in small: enters namespaces, mounts an overlay if asked, runs one step, reports as JSON.

A process of its own, since entering namespaces needs one thread and can't be undone. Reads a JSON
request from stdin: the fields of `Request` in support.exec_request.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

from knarr.errors import KnarrError
from knarr.exec import launch, namespaces, probe
from knarr.exec.spec import RootMount, RunSpec
from knarr.linux import overlay


def main() -> None:
    request = json.load(sys.stdin)
    answer: dict[str, Any] = {"code": None, "output": "", "error": None}
    try:
        isolation = probe.probe("namespace")
        entered = namespaces.enter()
        namespaces.harden()
        answer["isolation"] = isolation.reason
        answer["namespaces"] = asdict(entered)
        _mount(request, entered)
        if request["argv"]:
            pid_namespace = isolation.pid_namespace and not request["shared_pids"]
            spec = _spec(request, single_id=entered.single_id, pid_namespace=pid_namespace)
            spec = replace(spec, in_place=request["in_place"])
            answer["code"], answer["output"] = _run(spec, Path(request["output"]))
    except KnarrError as error:
        answer["error"] = {
            "type": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "status": error.exit_status,
        }
    json.dump(answer, sys.stdout)


def _mount(request: dict[str, Any], entered: namespaces.Namespaces) -> None:
    if not request["lowers"]:
        return
    upper = Path(request["upper"]) if request["upper"] else None
    work = Path(request["work"]) if request["work"] else None
    lowers = [Path(lower) for lower in request["lowers"]]
    root = Path(request["root"])
    overlay.mount_overlay(lowers, upper, work, root, userxattr=entered.in_user_namespace)


def _spec(request: dict[str, Any], *, single_id: bool, pid_namespace: bool) -> RunSpec:
    mounts = [
        RootMount(
            target=PurePosixPath(mount["target"]),
            source=Path(mount["source"]) if mount["source"] else None,
            readonly=mount["readonly"],
            options=tuple(mount["options"]),
        )
        for mount in request["mounts"]
    ]
    return RunSpec(
        root=Path(request["root"]),
        argv=tuple(request["argv"]),
        env=request["env"],
        cwd=PurePosixPath(request["cwd"]),
        uid=request["uid"],
        gid=request["gid"],
        groups=tuple(request["groups"]),
        resolv_conf=Path(request["resolv_conf"]) if request["resolv_conf"] else None,
        hosts=Path(request["hosts"]) if request["hosts"] else None,
        extra_mounts=tuple(mounts),
        network=request["network"],
        single_id=single_id,
        pid_namespace=pid_namespace,
    )


def _run(spec: RunSpec, output: Path) -> tuple[int, str]:
    # A descriptor that is inheritable by mistake must not reach the step either.
    os.set_inheritable(os.open("/", os.O_RDONLY | os.O_DIRECTORY), True)  # noqa: FBT003
    with output.open("wb") as stream, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=stream) as cat:
        assert cat.stdin is not None
        status = launch.run(spec, stdout=cat.stdin.fileno(), stderr=cat.stdin.fileno())
        cat.stdin.close()
        cat.wait()
    return status.code, output.read_text(errors="replace")


if __name__ == "__main__":
    main()
