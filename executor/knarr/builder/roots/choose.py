"""The choice of an isolation: what was asked for, as far as this machine has it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from knarr.builder.roots.backend import Backend
from knarr.builder.roots.inplace.backend import InplaceBackend
from knarr.builder.roots.inplace.preload import load_everything
from knarr.builder.roots.namespace.backend import enter_namespaces
from knarr.builder.roots.none import NoBackend
from knarr.errors import UsageError
from knarr.exec.namespaces import harden
from knarr.exec.probe import Isolation, Mode, Requested, probe
from knarr.progress import Note, Reporter

_Entered = tuple[Backend, str]
"""A backend with how it finds changes, for the log; an empty text where it finds none."""


@dataclass(frozen=True, slots=True)
class _Spared:
    """Paths of this machine that a build in place leaves alone."""

    kept: tuple[Path, ...]
    outputs: tuple[Path, ...]
    """Not there yet, all of them: a volume that one will be in is used for nothing else."""


def enter_backend(
    requested: str,
    work_dir: Path,
    reporter: Reporter,
    *,
    force: bool = False,
    kept: Iterable[Path] = (),
    outputs: Iterable[Path] = (),
) -> Backend:
    """Find out what isolation there is, then enter it; call it while the process has one thread.

    A mode that replaces this machine's own files leaves out what is at `kept`, and uses no volume that is
    for `outputs`; with `force` it does so outside of a container too. Raises UsageError for an unknown
    mode, IsolationError where the mode asked for can't be had.
    """
    if requested not in ("auto", *_MODES):
        known = ", ".join(("auto", *_MODES))
        raise UsageError(f"unknown isolation {requested!r}", hint=f"--isolation takes one of {known}")
    isolation = probe(cast(Requested, requested), force=force)
    backend, how = _MODES[isolation.mode](isolation, work_dir, reporter, _Spared(tuple(kept), tuple(outputs)))
    harden()
    reporter.report(Note(f"isolation {isolation.reason}; {how}" if how else f"isolation {isolation.reason}"))
    return backend


def _namespace(isolation: Isolation, work_dir: Path, _reporter: Reporter, _spared: _Spared) -> _Entered:
    return enter_namespaces(work_dir, pid_namespace=isolation.pid_namespace)


def _inplace(_isolation: Isolation, work_dir: Path, reporter: Reporter, spared: _Spared) -> _Entered:
    backend = InplaceBackend(work_dir, spared.kept, reporter, outputs=spared.outputs)
    backend.before_takeover(load_everything)
    return backend, "changes by scan"


def _none(isolation: Isolation, _work_dir: Path, _reporter: Reporter, _spared: _Spared) -> _Entered:
    return NoBackend(isolation.refusal), ""


_MODES: Mapping[Mode, Callable[[Isolation, Path, Reporter, _Spared], _Entered]] = {
    "namespace": _namespace,
    "inplace": _inplace,
    "none": _none,
}
