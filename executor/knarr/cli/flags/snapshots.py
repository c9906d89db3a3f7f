"""Flags that say how the changes of RUN steps are found."""

from dataclasses import dataclass
from typing import Annotated

from knarr.cli.flags.kinds import OFF, Switch, switch, value


@dataclass(frozen=True, slots=True)
class SnapshotFlags:
    """Snapshot modes, ignored paths."""

    snapshot_mode: Annotated[
        str,
        value(
            "snapshot-mode", "full reads every file in a scan; redo, time trust ctimes, as the default does."
        ),
    ] = ""
    old_snapshot_mode: Annotated[str, value("snapshotMode", "Old name of --snapshot-mode.", hidden=True)] = ""
    single_snapshot: Annotated[
        Switch, switch("single-snapshot", "Make one layer of all that the build adds to its base.")
    ] = OFF
    use_new_run: Annotated[
        Switch, switch("use-new-run", "Accepted: changes are never found by hashing alone.", hidden=True)
    ] = OFF
    ignore_path: Annotated[
        tuple[str, ...], value("ignore-path", "Path whose changes stay out of the layers; repeatable.")
    ] = ()
    ignore_var_run: Annotated[
        Switch, switch("ignore-var-run", "Keep changes in /var/run out of the layers.")
    ] = OFF
    whitelist_var_run: Annotated[
        Switch, switch("whitelist-var-run", "Old name of --ignore-var-run.", hidden=True)
    ] = OFF
