"""What `knarr build` makes of whole-build cases on this machine, in namespaces: each built once."""

from dataclasses import dataclass, field
from pathlib import Path

from support.corpus import Written
from support.flatten import FlatImage, flatten_layout
from support.knarr_cli import knarr
from support.registry import Registry


@dataclass(frozen=True, slots=True)
class Built:
    """How a build ended; `output` is all that it said."""

    image: FlatImage | None
    status: int
    output: str


@dataclass(frozen=True, slots=True)
class NamespaceResults:
    """Builds cases with the images of a registry, in directories below `place`.

    `work` is a directory for the builds' own files, where the file system of `place` will not do.
    """

    registry: Registry
    place: Path
    work: Path | None = None
    _known: dict[Path, Built] = field(default_factory=dict)

    def built(self, written: Written) -> Built:
        """The outcome of a case; it is built when it is first asked for."""
        key = written.case.directory
        if key not in self._known:
            self._known[key] = self._build(written)
        return self._known[key]

    def _build(self, written: Written) -> Built:
        place = self.place / str(len(self._known))
        layout = place / "layout"
        context = written.case.write_context(place / "context")
        where = [
            "--insecure-registry",
            self.registry.host,
            "--registry-map",
            f"docker.io={self.registry.host}",
        ]
        result = knarr(
            [
                *("build", "--isolation=namespace", "--no-push", f"--oci-layout-path={layout}"),
                *(*where, *written.arguments(str(context))),
            ],
            environment={**written.environment, **({"KNARR_DIR": str(self.work)} if self.work else {})},
        )
        image = flatten_layout(layout) if result.returncode == 0 else None
        return Built(image, result.returncode, f"{result.stdout}{result.stderr}")
