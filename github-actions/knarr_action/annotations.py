"""The input `annotations` to values of `--annotation`."""

import re
from collections.abc import Sequence

_LEVELS = re.compile(
    r"((?:manifest|index|manifest-descriptor|index-descriptor)(?:\[[^\]]*\])?(?:,[a-z-]+(?:\[[^\]]*\])?)*):(.*)",
    re.DOTALL,
)


def join_levels(values: Sequence[str]) -> Sequence[str]:
    """The same annotations; one that is given for several levels has all of them, `manifest,index:KEY=VALUE`.

    docker/metadata-action gives one a level. Knarr takes such a list at builds, which have no index, and at
    indexes, whose manifests are made already: there a level that is not there counts as long as another is.
    """
    levels: dict[str, list[str]] = {}
    for value in values:
        found = _LEVELS.fullmatch(value)
        level, annotation = (found[1], found[2]) if found else ("", value)
        levels.setdefault(annotation, []).append(level)
    return [
        f"{','.join(filter(None, each))}:{annotation}" if any(each) else annotation
        for annotation, each in levels.items()
    ]
