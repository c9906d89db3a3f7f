"""What an isolation can do, for those who need not know which one it is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Abilities:
    """Facts about one isolation; they don't change while it is in use."""

    can_run: bool
    """Whether RUN steps can run."""
    can_mount: bool
    """Whether this process may mount; else what a step mounts is moved or copied into its place."""
    single_id: bool
    """Whether every owner is recorded as the one id that there is."""
    overlay_userxattr: bool | None
    """Whether overlayfs takes the attributes of a user namespace; None where there is no overlayfs."""
    one_root: bool
    """Whether stages have one directory, one after the other, where others have one each."""
