"""`--output` as buildx writes it: one record of comma-separated values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from knarr.cli.values.grammar import parse_bool
from knarr.cli.values.output.annotations import Annotation
from knarr.dockerfile.syntax.csv_fields import split_fields
from knarr.errors import DockerfileError, UsageError

_PUSHING = ("registry", "image")
_SAVED = ("oci", "docker")
_IMAGES = (*_PUSHING, *_SAVED)
_FILES = ("local", "tar")
_NOWHERE = "cacheonly"
_TYPES = (*_IMAGES, *_FILES, _NOWHERE)
_DEST = (*_SAVED, *_FILES)

_ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "name": _IMAGES,
        "oci-mediatypes": _IMAGES,
        "compression": _IMAGES,
        "compression-level": _IMAGES,
        "force-compression": _IMAGES,
        "rewrite-timestamp": _IMAGES,
        "push": _PUSHING,
        "push-by-digest": _PUSHING,
        "name-canonical": _PUSHING,
        "unpack": _PUSHING,
        "store": _PUSHING,
        "tar": _SAVED,
        "platform-split": _FILES,
        "mode": ("local",),
    }
)
"""By attribute the types that have it; `type`, `dest` and annotations beside them."""
_INSTEAD: Mapping[str, str] = MappingProxyType(
    {
        "registry.insecure": "--insecure-registry HOST says so of a registry",
        "attestation-inline": "knarr makes no attestations",
        "attestation-prefix": "knarr makes no attestations",
        "oci-artifact": "knarr makes no attestations",
        "dangling-name-prefix": "knarr keeps no images beside what it pushes and writes",
        "danging-name-empty-only": "knarr keeps no images beside what it pushes and writes",
        "prefer-nondist-layers": "layers of the base image keep their media types",
        "source-date-epoch": "--build-arg SOURCE_DATE_EPOCH=SECONDS says so of the build",
        "context": "write a file, give it to docker --context NAME load -i FILE",
    }
)
_ONLY_FALSE: Mapping[str, str] = MappingProxyType(
    {
        "unpack": "knarr keeps no images that could be unpacked; type=local writes the files",
        "store": "knarr keeps no images; type=oci or type=docker write one",
    }
)


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """One `--output`, its attributes known and of its type."""

    type: str
    dest: str = ""
    """As written; `-` is standard output. Empty where the type has none."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    annotations: tuple[Annotation, ...] = ()

    @property
    def flag(self) -> str:
        """What messages call it."""
        return f"--output type={self.type}" + (f",dest={self.dest}" if self.dest else "")

    @property
    def is_pushed(self) -> bool:
        """Whether it asks for a push. Raises UsageError."""
        return self.is_on("push", default=self.type == "registry")

    @property
    def is_by_digest(self) -> bool:
        """Whether it asks for one without a tag. Raises UsageError."""
        return self.is_on("push-by-digest")

    @property
    def decides_push(self) -> bool:
        """Whether it says if the image is pushed, as BuildKit's image has it."""
        return self.type in (*_PUSHING, _NOWHERE)

    @property
    def is_image(self) -> bool:
        """Whether it is about the image, not its files."""
        return self.type in _IMAGES

    @property
    def names(self) -> tuple[str, ...]:
        """What `name` says."""
        return tuple(name for name in self.attributes.get("name", "").split(",") if name)

    def is_on(self, attribute: str, *, default: bool = False) -> bool:
        """An attribute that is a boolean. Raises UsageError."""
        text = self.attributes.get(attribute)
        if text is None:
            return default
        try:
            return parse_bool(text)
        except UsageError as error:
            raise UsageError(f"{self.flag},{attribute}={text}: {error.message}", hint=error.hint) from error


def parse_output(text: str) -> OutputRecord:
    """Read `type=TYPE,KEY=VALUE`, a directory, or `-`. Raises UsageError that names what is not known."""
    try:
        fields = split_fields(text)
    except DockerfileError as error:
        raise UsageError(f"--output {text}: can't split it at commas", hint=error.hint) from error
    if len(fields) == 1 and fields[0] == text and "type=" not in text[:5].lower():
        return OutputRecord("tar" if text == "-" else "local", text)
    values: dict[str, str] = {}
    for each in fields:
        key, equals, value = each.partition("=")
        key = key.strip()
        if not equals:
            raise UsageError(f"--output {text}: {each!r} is no KEY=VALUE", hint="write type=TYPE,KEY=VALUE")
        values[key if key.startswith("annotation") else key.lower()] = value
    kind = values.pop("type", "")
    if kind not in _TYPES:
        said = f"type={kind} is not known" if kind else "type is missing"
        raise UsageError(f"--output {text}: {said}", hint=f"types are {', '.join(_TYPES)}")
    return _checked(kind, values)


def _checked(kind: str, values: Mapping[str, str]) -> OutputRecord:
    dest = values.get("dest", "")
    attributes: dict[str, str] = {}
    annotations: list[Annotation] = []
    for key, value in values.items():
        flag = f"--output type={kind},{key}={value}"
        annotation = Annotation.of_attribute(key, value, flag) if kind in _IMAGES else None
        if annotation is not None:
            annotations.append(annotation)
        elif key == "dest" and kind in _DEST:
            continue
        elif kind in _ATTRIBUTES.get(key, ()):
            attributes[key] = value
        else:
            raise UsageError(f"{flag}: {_why(kind, key)}", hint=_INSTEAD.get(key) or _known(kind))
    record = OutputRecord(kind, dest, attributes, tuple(annotations))
    _check_values(record)
    return _with_dest(record)


def _check_values(record: OutputRecord) -> None:
    for key in ("push", "push-by-digest", "name-canonical", "tar", "oci-mediatypes", "rewrite-timestamp"):
        record.is_on(key)
    for key, hint in _ONLY_FALSE.items():
        if record.is_on(key):
            raise UsageError(f"{record.flag}: {key}=true is not possible", hint=hint)
    if record.attributes.get("mode", "copy") != "copy":
        raise UsageError(
            f"{record.flag}: mode={record.attributes['mode']} is not possible",
            hint="files that are there already stay; empty the directory in a step before",
        )
    if record.type == "tar" and record.is_on("platform-split"):
        raise UsageError(
            f"{record.flag}: platform-split=true is not possible",
            hint="a tarball of one platform is never split",
        )
    if record.type == "docker" and not record.is_on("tar", default=True):
        raise UsageError(
            f"{record.flag}: tar=false is not possible", hint="type=oci,tar=false is a directory"
        )


def _with_dest(record: OutputRecord) -> OutputRecord:
    if record.type not in _DEST:
        return record
    is_directory = record.type == "local" or not record.is_on("tar", default=True)
    if record.dest and not (is_directory and record.dest == "-"):
        return record
    if is_directory:
        raise UsageError(f"{record.flag}: dest is missing", hint="dest=DIRECTORY says where")
    if record.type == "docker":
        raise UsageError(
            f"{record.flag}: dest is missing, and knarr loads nothing into a docker by itself",
            hint="dest=FILE, or dest=- before a pipe: ... | docker load",
        )
    return OutputRecord(record.type, "-", record.attributes, record.annotations)


def _why(kind: str, key: str) -> str:
    if key in _INSTEAD:
        return f"knarr has no {key}"
    return f"type={kind} has no {key}" if key in _ATTRIBUTES or key == "dest" else f"{key} is not known"


def _known(kind: str) -> str:
    known = [key for key, kinds in _ATTRIBUTES.items() if kind in kinds]
    place = ["dest"] if kind in _DEST else []
    annotation = ["annotation.KEY"] if kind in _IMAGES else []
    return f"type={kind} knows {', '.join([*place, *known, *annotation]) or 'no attributes'}"
