"""What buildah made of a case, kept between runs outside the repository."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support import flatten
from support.bases import Base
from support.cases import Case
from support.flatten import flatten_layout
from support.kept_outcome import Outcome, kept_outcome

_BUILD = ("bud", "--isolation=chroot", "--format=oci", "--identity-label=false")


@dataclass(frozen=True, slots=True)
class BuildahResults:
    """Outcomes by what they depend on; `registry_host` is asked for when the cache lacks an outcome."""

    cache: Path
    bases: Iterable[Base]
    registry_host: Callable[[], str]

    def outcome(self, case: Case, tmp: Path) -> Outcome:
        """Give buildah's outcome for a case, building it when it is not known."""
        path = self.cache / "buildah" / f"{case.name}-{self._key(case)}.json.gz"
        return kept_outcome(path, lambda: self._build(case, tmp))

    def _build(self, case: Case, tmp: Path) -> Outcome:
        context, layout = case.write_context(tmp / "buildah-context"), tmp / "buildah-layout"
        # Not pytest's directory: the storage wants a disk.
        place = Path(tempfile.mkdtemp(prefix="knarr-buildah-", dir="/var/tmp"))
        try:
            (place / "registries.conf").write_text(_registries(self.registry_host()))
            options = [
                *(["--target", case.target] if case.target else []),
                *(f"--build-arg={name}={value}" for name, value in case.build_args.items()),
                *(f"--label={name}={value}" for name, value in case.labels.items()),
            ]
            file = f"--file={context / case.dockerfile}"
            built = _buildah(place, [*_BUILD, *options, file, "--tag=localhost/case", str(context)])
            if built.returncode:
                return Outcome(None, f"status {built.returncode}\n{built.stderr}")
            _buildah(place, ["push", "localhost/case", f"oci:{layout}:latest"]).check_returncode()
            return Outcome(flatten_layout(layout))
        finally:
            shutil.rmtree(place)

    def _key(self, case: Case) -> str:
        version = subprocess.run(["buildah", "--version"], check=True, capture_output=True, text=True).stdout
        reader = Path(flatten.__file__ or "").read_bytes()
        parts = [case.digest(), *_BUILD, version, *(f"{base.name} {base.digest}" for base in self.bases)]
        return hashlib.sha256("\n".join(parts).encode() + reader).hexdigest()[:20]


def _registries(host: str) -> str:
    return (
        'unqualified-search-registries = ["docker.io"]\n'
        f'[[registry]]\nprefix = "docker.io"\nlocation = "{host}"\ninsecure = true\n'
    )


def _buildah(place: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    storage = [f"--root={place}/root", f"--runroot={place}/run", "--storage-driver=vfs"]
    environment = {**os.environ, "CONTAINERS_REGISTRIES_CONF": str(place / "registries.conf")}
    return subprocess.run(
        ["buildah", *storage, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
