"""Git repositories checked out for ADD."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from knarr.builder.request.git_program import GitProgram
from knarr.builder.sources.git import PROTOCOLS, Git, GitFailedError
from knarr.builder.sources.remote_auth import GitAuth
from knarr.dockerfile.language.remote_sources import GitSource, check_git_source
from knarr.errors import ContextError, CorruptError, OutputError
from knarr.layers.entry import Kind
from knarr.registry.http.locations import shown
from knarr.rootfs.dir_tree import DirTree

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NO_SHALLOW = ("--depth", "shallow")
_NO_SUCH_OBJECT = ("not our ref", "unadvertised object", "no such remote ref", "couldn't find remote ref")
_TRACES = ("FETCH_HEAD", "ORIG_HEAD", "logs")
"""What git notes of how a repository came about."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    """The object that the ref names, a tag or a commit, with its commit."""

    object: str
    commit: str


def check_out(
    program: GitProgram, source: GitSource, directory: Path, *, auth: GitAuth, created_ns: int
) -> str:
    """Fetch a repository into an empty directory, which then holds its files, and `.git` where it is kept.

    Returns the hash of the commit.

    Files get the modes that git knows, 0644 and 0755, and the time of the build, or of the commit where
    that is asked for. Submodules come along. What a failure leaves is for the caller to remove. Raises
    ContextError, CorruptError for another commit than the checksum says, DockerfileError for a ref that
    can't be one.
    """
    check_git_source(source)
    git = Git(program, directory, remote=source.remote, auth=auth)
    fetched = _fetch(git, source)
    _check_commit(source, fetched)
    git.run(["checkout", "-q", "--force", "--detach", fetched.commit, "--"], doing="check out the files")
    if source.submodules and os.path.lexists(directory / ".gitmodules"):
        git.run(
            ["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"],
            doing="fetch the submodules",
            protocols=PROTOCOLS,
        )
    mtime_ns = created_ns if source.mtime == "checkout" else _commit_time_ns(git, fetched.commit)
    try:
        _finish(directory, mtime_ns, keep_git_dir=bool(source.keep_git_dir) and not _subdir(source))
    except OSError as error:
        raise OutputError(f"can't tidy the files of {source.remote}: {error.strerror}") from error
    return fetched.commit


def find_subdir(source: GitSource, tree: DirTree) -> str:
    """The path of the source's directory in its checkout; symlinks lead nowhere else. Raises ContextError."""
    path = tree.resolve(source.subdir)
    entry = tree.lookup(path)
    if entry is None or entry.kind is not Kind.DIRECTORY:
        raise ContextError(
            f"{source.remote} has no directory {shown(source.subdir)}",
            hint="the part after the colon, or subdir=, is a directory of the repository",
        )
    return path


def _subdir(source: GitSource) -> str:
    return source.subdir.strip("/").removeprefix("./").strip("./")


def _check_commit(source: GitSource, fetched: _Fetched) -> None:
    found = dict.fromkeys((fetched.object, fetched.commit))
    if not any(name.startswith(source.checksum) for name in found):
        raise CorruptError(
            f"ADD {source.remote}: expected checksum to match {source.checksum}, got {' or '.join(found)}",
            hint="the branch or tag has moved since the checksum was written",
        )


def _fetch(git: Git, source: GitSource) -> _Fetched:
    ref = source.checksum if source.fetch_by_commit else source.ref
    is_commit = _COMMIT.fullmatch(ref) is not None
    scheme = source.remote.partition("://")[0]
    # A redirect may go from http to https, and nowhere else.
    protocols = {"http": ("http", "https")}.get(scheme, (scheme if scheme in PROTOCOLS else "ssh",))
    name, hash_digits = (ref, len(ref)) if is_commit else _resolve(git, source, protocols)
    hash_format = ["--object-format=sha256"] if hash_digits == 64 else []
    git.run(["init", "-q", "--template=", *hash_format], doing="prepare a copy")
    git.run(["remote", "add", "--", "origin", source.remote], doing="prepare a copy")
    if is_commit:
        object_name = _fetch_commit(git, source, name, protocols)
    else:
        refspec = f"+{name}:{name}" if name.startswith("refs/") else name
        _fetch_shallow(git, [refspec], protocols)
        object_name = git.run(["rev-parse", "--verify", "FETCH_HEAD"], doing="read the ref").strip()
    commit = git.run(["rev-parse", "--verify", f"{object_name}^{{commit}}"], doing="read the commit").strip()
    return _Fetched(object_name, commit)


def _resolve(git: Git, source: GitSource, protocols: Sequence[str]) -> tuple[str, int]:
    """The full name of the ref, and how many digits a hash has there.

    What is meant is a full name, a branch, a tag, in this order; no ref means what HEAD stands for.
    """
    wanted = source.ref or "HEAD"
    listed = git.run(
        ["ls-remote", "-q", "--symref", "--", source.remote, wanted],
        doing="list the refs",
        protocols=protocols,
    )
    pairs = [line.partition("\t")[::2] for line in listed.splitlines()]
    hash_digits = len(pairs[-1][0]) if pairs else 0
    if not source.ref:
        default = [what.removeprefix("ref: ") for what, name in pairs if name == "HEAD"]
        if not default:
            raise ContextError(f"{source.remote} has no default branch", hint="name a branch: URL#BRANCH")
        return (default[0] if default[0].startswith("refs/") else "HEAD"), hash_digits
    names = {name for _, name in pairs}
    for prefix in ("refs/", "refs/heads/", "refs/tags/"):
        if (full := prefix + source.ref.removeprefix(prefix)) in names:
            return full, hash_digits
    raise ContextError(
        f"{source.remote} does not contain ref {source.ref}",
        hint="name a branch, a tag, or a commit with all of its digits",
    )


def _fetch_commit(git: Git, source: GitSource, commit: str, protocols: Sequence[str]) -> str:
    try:
        _fetch_shallow(git, [commit], protocols)
    except GitFailedError as error:
        if not any(sign in error.output for sign in _NO_SUCH_OBJECT):
            raise
        # A server may give out only what a branch or tag leads to.
        everything = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
        git.run(["fetch", "-q", "--", "origin", *everything], doing="fetch the commit", protocols=protocols)
    try:
        git.run(["cat-file", "-e", f"{commit}^{{commit}}"], doing="read the commit")
    except GitFailedError as error:
        raise ContextError(
            f"{source.remote} does not contain commit {commit}",
            hint="a branch or a tag must lead to it",
        ) from error
    return commit


def _fetch_shallow(git: Git, refspecs: Sequence[str], protocols: Sequence[str]) -> None:
    command = ["fetch", "-q", "--no-tags", "--update-head-ok", "--no-recurse-submodules"]
    try:
        git.run([*command, "--depth=1", "--", "origin", *refspecs], doing="fetch", protocols=protocols)
    except GitFailedError as error:
        if not any(sign in error.output for sign in _NO_SHALLOW):
            raise
        git.run([*command, "--", "origin", *refspecs], doing="fetch", protocols=protocols)


def _commit_time_ns(git: Git, commit: str) -> int:
    text = git.run(["log", "-1", "--format=%ct", commit, "--"], doing="read the time of the commit")
    return max(int(text), 0) * 10**9


def _finish(directory: Path, mtime_ns: int, *, keep_git_dir: bool) -> None:
    """Take out what is git's, give all files one time."""
    if keep_git_dir:
        for name in _TRACES:
            _remove(directory / ".git" / name)
    for parent, directories, files in os.walk(directory, topdown=False):
        for name in (*directories, *files):
            path = os.path.join(parent, name)
            # A repository can't hold a path of this name: it is git's own, a submodule's too.
            if name == ".git" and not keep_git_dir:
                _remove(Path(path))
            elif os.path.lexists(path):
                os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
    os.utime(directory, ns=(mtime_ns, mtime_ns))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
