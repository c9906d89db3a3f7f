"""What a Docker engine made of a case, kept between runs outside the repository."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from support import flatten
from support.bases import Base
from support.cases import Case
from support.docker_engine import Engine, RefusedError, engine_version
from support.flatten import flatten_docker_archive
from support.kept_outcome import Outcome, kept_outcome


@dataclass(frozen=True, slots=True)
class DockerResults:
    """Outcomes by what they depend on: the case, the base images, the engine, the reader of images.

    `engine` is called only when the cache lacks an outcome, so that a full cache starts no engine.
    """

    cache: Path
    bases: Iterable[Base]
    engine: Callable[[], Engine]

    def outcome(self, case: Case, tmp: Path) -> Outcome:
        """Give the engine's outcome for a case, building it in `tmp` when it is not known."""
        path = self.cache / "docker" / f"{case.name}-{self._key(case)}.json.gz"
        return kept_outcome(path, lambda: self._build(case, tmp))

    def _build(self, case: Case, tmp: Path) -> Outcome:
        context = case.write_context(tmp / "docker-context")
        engine, archive = self.engine(), tmp / "docker.tar"
        try:
            image = engine.build(
                context,
                context / case.dockerfile,
                target=case.target,
                build_args=case.build_args,
                labels=case.labels,
            )
        except RefusedError as error:
            return Outcome(None, str(error))
        engine.save(image, archive)
        flat = flatten_docker_archive(archive)
        archive.unlink()
        return Outcome(flat)

    def _key(self, case: Case) -> str:
        reader = Path(flatten.__file__ or "").read_bytes()
        parts = [case.digest(), engine_version(), *(f"{base.name} {base.digest}" for base in self.bases)]
        return hashlib.sha256("\n".join(parts).encode() + reader).hexdigest()[:20]
