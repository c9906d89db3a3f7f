"""Clients as flags and environment make them, a registry to try them on."""

from collections.abc import Mapping
from dataclasses import dataclass

from knarr.cli.command import Command
from knarr.cli.flags.registries import RegistryFlags
from knarr.cli.values.registries import open_client
from knarr.oci.digest import Digest
from knarr.oci.platform import Platform
from knarr.oci.reference import Reference
from knarr.progress import Note
from knarr.registry.client import Client
from knarr.registry.transfer.resolve import ResolvedImage, resolve
from support.faulty_registry import Answer, Asked
from support.registry_images import Events, SmallImage, push_image

IMAGE = SmallImage.of(b"layer one")
OTHER = SmallImage.of(b"layer two")
USER = {"KANIKO_127_0_0_1_USER": "sailor", "KANIKO_127_0_0_1_PASSWORD": "correct horse"}


@dataclass
class Opened:
    """A client of some flags, with what it reported and how long it would have slept."""

    client: Client
    events: Events
    waits_s: list[float]

    def push(self, name: str, image: SmallImage = IMAGE) -> Digest:
        return push_image(self.client, Reference.parse(name), image)

    def pull(self, name: str) -> ResolvedImage:
        return resolve(self.client, Reference.parse(name), Platform.normalised("linux", "amd64"))

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events.events if isinstance(event, Note)]


def opened(*arguments: str, environment: Mapping[str, str] | None = None) -> Opened:
    given: list[RegistryFlags] = []

    def handler(flags: RegistryFlags) -> int:
        """Take the flags."""
        given.append(flags)
        return 0

    Command("test", (RegistryFlags,), handler).run(arguments)
    events = Events()
    found = Opened(open_client(environment or {}, events, given[0]), events, [])
    found.client.sleep = found.waits_s.append
    return found


class Served:
    """A registry that has one image and takes any."""

    def __init__(self, image: SmallImage) -> None:
        self.image = image
        self.manifest_answers: list[Answer] = []

    def __call__(self, asked: Asked) -> Answer:
        path = asked.path.partition("?")[0]
        if "/manifests/" in path:
            return self._manifest(asked)
        if "/blobs/uploads/" in path and asked.method == "POST":
            return Answer(202, headers={"Location": f"{path}1"})
        if "/blobs/uploads/" in path:
            return Answer(201 if asked.method == "PUT" else 204)
        blob = self.image.blobs.get(Digest.parse(path.rpartition("/")[2]))
        return Answer(404) if blob is None else Answer(200, blob)

    def _manifest(self, asked: Asked) -> Answer:
        if self.manifest_answers:
            return self.manifest_answers.pop(0)
        if asked.method == "PUT":
            return Answer(201)
        headers = {
            "Content-Type": self.image.manifest.media_type,
            "Docker-Content-Digest": str(self.image.descriptor.digest),
        }
        return Answer(200, self.image.manifest.to_bytes(), headers)
