"""The inputs about the layer cache, buildx's and our own, to flags."""

from collections.abc import Iterator, Mapping, Sequence

from knarr_action.inputs import Inputs
from knarr_action.records import read_fields, read_record
from knarr_action.workflow import Warn


def cache_flags(inputs: Inputs, warn: Warn) -> Sequence[str]:
    """Flags for `cache`, `cache-repo`, `cache-ttl`, `no-cache`, `cache-from`, `cache-to`.

    A build without its cache is as right as one with it: a kind of cache that knarr lacks is a warning.
    """
    if inputs.is_true("no-cache"):
        return ["--cache=false"]
    ttl = [f"--cache-ttl={inputs.text('cache-ttl')}"]
    if inputs.is_true("cache") or inputs.text("cache-repo"):
        return ["--cache=true", f"--cache-repo={inputs.text('cache-repo')}", *ttl]
    sources = list(dict.fromkeys(_places("cache-from", "src", inputs, warn)))
    targets = list(dict.fromkeys(_places("cache-to", "dest", inputs, warn)))
    if not sources and not targets:
        return []
    chosen = (targets or sources)[0]
    for other in targets[1:]:
        warn(f"knarr keeps layers in one cache, {chosen}; {other} is left out")
    return [
        "--cache=true",
        f"--cache-repo={chosen}",
        *(f"--cache-from={source}" for source in sources if source != chosen),
        *ttl,
        *([] if targets else ["--no-push-cache=true"]),
    ]


def _places(name: str, key: str, inputs: Inputs, warn: Warn) -> Iterator[str]:
    """The caches of a list; `key` is what it calls a local one's directory."""
    for value in inputs.list(name):
        if "=" not in value:  # buildx's short form: references alone
            yield from map(_repository, filter(None, read_fields(name, value)))
            continue
        record = read_record(name, value)
        place = _place(record, key)
        if place:
            yield place
        else:
            warn(
                f"{name}: knarr has no cache of type={record.get('type', '')}; "
                "hint: type=registry,ref=REPOSITORY, or the inputs cache and cache-repo"
            )


def _place(record: Mapping[str, str], key: str) -> str:
    kind = record.get("type", "registry")
    if kind == "registry" and record.get("ref"):
        return _repository(record["ref"])
    return f"oci:{record[key]}" if kind == "local" and record.get(key) else ""


def _repository(reference: str) -> str:
    """The repository of a reference: its tags are the cache's keys."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
