"""`knarr push`: a saved image into registries."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex

from knarr.cli.command import Command
from knarr.cli.flags.commands import PushFlags
from knarr.cli.flags.logging import LogFlags
from knarr.cli.flags.registries import RegistryFlags
from knarr.cli.values.environment import read_environment
from knarr.cli.values.output.destinations import parse_destinations
from knarr.cli.values.registries import open_client
from knarr.errors import UsageError
from knarr.images.pusher import Pusher
from knarr.images.saved.image import read_saved_image
from knarr.report.session import ReportSession

GROUPS = (PushFlags, RegistryFlags, LogFlags)


def run_push(arguments: Sequence[str]) -> int:
    """Run `knarr push` with its arguments; the result is the exit status."""
    return Command("push", GROUPS, _push).run(arguments)


def _push(saved: PushFlags, registries: RegistryFlags, log: LogFlags) -> int:
    """Push a tarball of docker save, or an OCI image layout directory."""
    if not saved.path:
        raise UsageError(
            "push takes one argument, the tarball or OCI layout", hint="knarr push PATH -d DESTINATION"
        )
    if not saved.destination:
        raise UsageError("at least one --destination is required")
    destinations = parse_destinations(saved.destination, (), by_digest=saved.push_by_digest.on)
    with (
        ReportSession.of(log, os.environ, sys.stderr, token=token_hex(16)) as reporter,
        open_client(read_environment(os.environ), reporter, registries) as client,
    ):
        image = read_saved_image(Path(saved.path).absolute())
        with Pusher(client, destinations) as pusher:
            pusher.check()
            pusher.put(image, destinations)
    print(image.descriptor.digest)
    return 0
