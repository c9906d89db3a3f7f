"""What a process has once for all its threads is changed by nobody but the small processes of a step."""

import ast
from pathlib import Path

import knarr

PACKAGE = Path(knarr.__file__).parent
CHANGE_THE_PROCESS = frozenset(
    "umask chdir fchdir chroot setuid seteuid setreuid setresuid setgid setegid setregid setresgid setgroups "
    "initgroups setfsuid setfsgid".split()
)
OF_A_STEP = {"exec/init.py", "exec/command.py"}
"""What runs in an interpreter of its own, which has one thread."""


def changes(source: str) -> list[int]:
    """The lines in which an attribute or a name of that kind is used, however it is imported."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        if CHANGE_THE_PROCESS.intersection(names):
            found.append(getattr(node, "lineno", 0))
    return found


def test_no_code_beside_threads_changes_umask_ids_or_directory() -> None:
    found = {str(path.relative_to(PACKAGE)): changes(path.read_text()) for path in PACKAGE.rglob("*.py")}
    assert {path for path, lines in found.items() if lines} == OF_A_STEP


def test_such_code_is_found() -> None:
    assert changes("import os\nos.umask(0)") == [2]
    assert changes("from os import chdir as go\ngo('/')") == [1]
    assert changes("import subprocess\nsubprocess.run(['x'], umask=0o22, cwd='/')") == []
