"""The command of a RUN step: where its executable is looked for, what is said when it can't be executed."""

from pathlib import Path

import pytest

from support.exec_request import Executor

pytestmark = pytest.mark.root


def make_script(path: Path, text: str, mode: int = 0o755) -> None:
    path.write_text(text)
    path.chmod(mode)


def error_of(executor: Executor, *argv: str, **changes: object) -> tuple[int, str]:
    error = executor.run(*argv, **changes).error
    assert error is not None
    assert error["type"] == "RunError"
    return error["status"], f"{error['message']}\n{error['hint']}"


def test_lookup_in_path(root_executor: Executor) -> None:
    tools = root_executor.root / "tools"
    tools.mkdir()
    make_script(tools / "greet", "#!/bin/sh\necho hello $0\n")
    (root_executor.root / "first").mkdir()
    make_script(root_executor.root / "first/greet", "#!/bin/sh\necho wrong\n", 0o644)
    env = {"PATH": "/nowhere:/first:/tools"}
    assert root_executor.run("greet", env=env).output == "hello /tools/greet\n"
    assert root_executor.run("./greet", cwd="/tools", env={}).output == "hello ./greet\n"
    assert root_executor.run("greet", cwd="/tools", env={"PATH": ":/bin"}).output == "hello ./greet\n"
    assert root_executor.run("true", env={}).code == 0


def test_no_shell(root_executor: Executor) -> None:
    (root_executor.root / "bin/sh").unlink()
    status, text = error_of(root_executor, "/bin/sh", "-c", "true")
    assert status == 127
    assert "no /bin/sh in the image; use the exec form" in text


def test_not_found_in_path(root_executor: Executor) -> None:
    status, text = error_of(root_executor, "pyhton")
    assert status == 127
    assert "cannot execute pyhton: not found in the PATH" in text


def test_missing_interpreter(root_executor: Executor) -> None:
    make_script(root_executor.root / "script", "#!/bin/bash\r\n")
    status, text = error_of(root_executor, "/script")
    assert status == 127
    assert "interpreter of its #! line" in text


def test_foreign_executable(root_executor: Executor) -> None:
    make_script(root_executor.root / "foreign", "\x7fELF nothing of ours")
    status, text = error_of(root_executor, "/foreign")
    assert status == 126
    assert "built for another platform" in text


def test_not_executable(root_executor: Executor) -> None:
    make_script(root_executor.root / "data", "#!/bin/sh\n", 0o644)
    status, text = error_of(root_executor, "/data")
    assert status == 126
    assert "COPY --chmod=755" in text


def test_a_long_argument(root_executor: Executor) -> None:
    text = "x" * 100_000
    assert root_executor.shell(f"v={text}; echo ${{#v}}").output == "100000\n"
    status, message = error_of(root_executor, "/bin/sh", "-c", "#" * 200_000)
    assert status == 126
    assert "128 KiB" in message


def test_working_directory(executor: Executor) -> None:
    closed = executor.root / "closed"
    closed.mkdir()
    closed.chmod(0o700)
    executor.adopt(closed)
    assert executor.run("pwd", cwd="/closed", env={"PATH": "/bin"}).output == "/closed\n"
    # The working directory is entered before the user changes, as runc does.
    assert executor.run("/bin/pwd", cwd="/closed", uid=1000).code == 0


@pytest.mark.parametrize("cwd", ["/missing", "/bin/busybox", *(f"/proc/self/fd/{n}" for n in range(3, 12))])
def test_working_directory_that_is_none(root_executor: Executor, cwd: str) -> None:
    status, text = error_of(root_executor, "/bin/pwd", cwd=cwd)
    assert status == 126
    assert f"cannot enter the working directory {cwd}" in text
