"""Every program that tests, scripts, demo or benchmarks call is in a list of Debian packages."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import pytest
from scripts.debian_packages import PROGRAMS

from support.places import REPOSITORY

_TREES = ("tests", "scripts", "examples", "benchmarks")
_EVERYWHERE = frozenset(
    # Of packages that every Debian has: apt, bash, coreutils, dpkg, passwd, tar, util-linux.
    "apt-get bash cat cp dpkg-deb id mkdir nsenter rm sh stat tar timeout truncate unshare useradd userdel"
    " usermod".split()
)
_NOT_CALLED = frozenset({"policy-rc.d"})  # scripts/debian_packages.py writes it
_PROGRAM_FILE = re.compile(r"(/usr)?/s?bin/[\w.-]+")


def calls(source: str) -> set[str]:
    """The programs that a module calls by name.

    Found are the first words of what is given to subprocess, of what is given to a function with a parameter
    `command`, of what a function with `command` in its name returns, and names that are given to
    `shutil.which` or written as paths of programs. Words within a shell's script are not.
    """
    module = ast.parse(source)
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    takers = {
        function.name
        for function in functions
        if any(
            argument.arg == "command" for argument in (function.args.vararg, *function.args.args) if argument
        )
    }
    found: set[str] = set()
    scopes: list[ast.Module | ast.FunctionDef] = [module, *functions]
    for scope in scopes:
        values = _values(scope)
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and node.args:
                found.update(_called(node, takers, values))
            elif isinstance(node, ast.Return) and node.value and "command" in getattr(scope, "name", ""):
                found.update(_first_words(node.value, values))
    return {PurePosixPath(each).name for each in found}


def _called(call: ast.Call, takers: set[str], values: Mapping[str, list[ast.expr]]) -> Iterator[str]:
    name, first = ast.unparse(call.func), call.args[0]
    if name.startswith("subprocess.") or name in takers:
        yield from _first_words(first, values)
    if name == "shutil.which" or name in takers:
        yield from _word(first)
    if name == "Path":
        yield from filter(_PROGRAM_FILE.fullmatch, _word(first))


def _values(scope: ast.Module | ast.FunctionDef) -> Mapping[str, list[ast.expr]]:
    """What is assigned to names in a function, or in a module outside of its functions."""
    found: dict[str, list[ast.expr]] = {}
    waiting: list[ast.AST] = list(scope.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
        if not isinstance(node, ast.FunctionDef):
            waiting += ast.iter_child_nodes(node)
    return found


def _first_words(node: ast.expr, values: Mapping[str, list[ast.expr]]) -> Iterator[str]:
    if isinstance(node, ast.List | ast.Tuple) and node.elts:
        first = node.elts[0]
        yield from _first_words(first.value, values) if isinstance(first, ast.Starred) else _word(first)
    elif isinstance(node, ast.Name):
        for value in values.get(node.id, ()):
            if isinstance(value, ast.List | ast.Tuple):
                yield from _first_words(value, values)
    elif isinstance(node, ast.BinOp):
        yield from _first_words(node.left, values)
    elif isinstance(node, ast.IfExp):
        yield from _first_words(node.body, values)
        yield from _first_words(node.orelse, values)


def _word(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


@pytest.mark.parametrize(
    "source",
    [
        'subprocess.run(["zstd", "-d"])',
        'subprocess.Popen(("zstd", file))',
        'command = ["zstd"]\nsubprocess.run([*command, "-d"])',
        'subprocess.run(["zstd"] + more)',
        'def _output(*command: str) -> str: ...\n_output("zstd", "-d")',
        'def zstd_command(): return ["zstd"]',
        'shutil.which("zstd")',
        'Path("/usr/bin/zstd")',
        'subprocess.run(["/usr/bin/zstd"])',
    ],
)
def test_a_call_is_found(source: str) -> None:
    assert calls(source) == {"zstd"}


def test_every_program_has_a_package() -> None:
    listed = _EVERYWHERE | _NOT_CALLED | {name for names in PROGRAMS.values() for name in names}
    files = [file for tree in _TREES for file in (REPOSITORY / tree).rglob("*.py")]
    missing = {file: calls(file.read_text()) - listed for file in files}
    assert {str(file.relative_to(REPOSITORY)): names for file, names in missing.items() if names} == {}
