"""What RUN steps are surrounded with, as values."""

from dataclasses import dataclass

from knarr.exec.spec import Network


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Of every RUN step of a build."""

    network: Network = "default"
    """That of steps which name none."""
    hosts: tuple[tuple[str, str], ...] = ()
    """Names with their addresses, for /etc/hosts."""
    shm_bytes: int | None = None
    ulimits: tuple[tuple[str, int, int], ...] = ()
    """Names as in `ulimit`, with soft and hard limit; -1 is unlimited."""

    @property
    def key_parts(self) -> tuple[str, ...]:
        """What a step's layer depends on of it, beside the network."""
        return (
            *(f"host {name} {address}" for name, address in self.hosts),
            *([f"shm {self.shm_bytes}"] if self.shm_bytes is not None else []),
            *(f"ulimit {name} {soft} {hard}" for name, soft, hard in self.ulimits),
        )
