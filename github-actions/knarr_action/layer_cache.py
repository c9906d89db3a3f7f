"""The inputs about the layer cache, buildx's and our own, to flags."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from knarr_action.inputs import Inputs

Warn = Callable[[str], None]


def cache_flags(inputs: Inputs, warn: Warn) -> Sequence[str]:
    """Flags for `cache`, `cache-repo`, `cache-ttl`, `no-cache`, `cache-from`, `cache-to`.

    A build without its cache is as right as one with it: a kind of cache that knarr lacks is a warning.
    """
    if inputs.is_true("no-cache"):
        return ["--cache=false"]
    ttl = [f"--cache-ttl={inputs.text('cache-ttl')}"]
    if inputs.is_true("cache") or inputs.text("cache-repo"):
        return ["--cache=true", f"--cache-repo={inputs.text('cache-repo')}", *ttl]
    sources = list(_places("cache-from", inputs, warn))
    targets = list(_places("cache-to", inputs, warn))
    if not sources and not targets:
        return []
    chosen = (targets or sources)[0]
    for other in dict.fromkeys(each for each in (*sources, *targets) if each != chosen):
        warn(f"knarr uses one cache, {chosen}; {other} is left out")
    return ["--cache=true", f"--cache-repo={chosen}", *ttl, *([] if targets else ["--no-push-cache=true"])]


def _places(name: str, inputs: Inputs, warn: Warn) -> Iterator[str]:
    for line in inputs.lines(name):
        if "=" not in line:  # buildx's short form: a reference alone
            yield _repository(line)
    detailed = {name: "\n".join(line for line in inputs.lines(name) if "=" in line)}
    for record in Inputs(detailed).records(name):
        place = _place(record)
        if place:
            yield place
        else:
            warn(
                f"{name}: knarr has no cache of type={record.get('type', '')}; "
                "hint: type=registry,ref=REPOSITORY, or the inputs cache and cache-repo"
            )


def _place(record: Mapping[str, str]) -> str:
    kind = record.get("type", "registry")
    if kind == "registry" and record.get("ref"):
        return _repository(record["ref"])
    directory = record.get("dest") or record.get("src")
    return f"oci:{directory}" if kind == "local" and directory else ""


def _repository(reference: str) -> str:
    """The repository of a reference: its tags are the cache's keys."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
