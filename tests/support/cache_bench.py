"""Builds with the layer cache, on a registry whose requests are counted."""

import shutil
from pathlib import Path

from support.builds import Builds, Result
from support.counting_registry import CountingRegistry

MULTI_STAGE = """\
FROM busybox AS tools
RUN echo tool > /tool && echo other > /other
FROM busybox AS build
WORKDIR /src
COPY src/ /src/
RUN cat /src/a /src/sub/b > /out && cat /proc/sys/kernel/random/uuid >> /out
FROM busybox
ENV MODE=fast
COPY --from=tools /tool /tool
COPY --from=build /out /out
RUN cat /out > /final
COPY last /last
"""
LINES = "FROM busybox\nRUN echo one > /one\nRUN echo two > /two\nRUN echo three > /three\n"
FILES = {"src/a": "one\n", "src/sub/b": "two\n", "last": "last\n"}


class Bench:
    """Builds of one Dockerfile in repositories of its own."""

    def __init__(self, counting: CountingRegistry, builds: Builds) -> None:
        self.counting = counting
        self.builds = builds
        self.repository = f"cache/{builds.place.name.lower()}"

    def build(
        self, *arguments: str, dockerfile: str = MULTI_STAGE, files: dict[str, str] | None = None
    ) -> Result:
        """Build from a clean context with --cache and push; what is asked of the registry is counted anew."""
        shutil.rmtree(self.builds.place / "context", ignore_errors=True)
        context = self.builds.context(dockerfile, FILES | (files or {}))
        return self.build_in(context, *arguments)

    def build_in(self, context: Path, *arguments: str) -> Result:
        self.counting.forget()
        destination = () if "--no-push" in arguments else ("-d", self.builds.name(f"{self.repository}:1"))
        return self.builds.run(self.builds.arguments(context, "--cache", *destination, *arguments))

    def diff_ids(self) -> list[str]:
        """The layers of what was pushed last."""
        config = self.builds.config(self.repository, "1")
        found: list[str] = config["rootfs"]["diff_ids"]
        return found

    def cached_keys(self) -> list[str]:
        return self.builds.tags(f"{self.repository}/cache")


def hits(result: Result) -> list[str]:
    """The instructions that came from the cache."""
    sign = "Using caching version of cmd: "
    return [line.partition(sign)[2] for line in result.log.splitlines() if sign in line]


def misses(result: Result) -> list[str]:
    sign = "No cached layer found for cmd "
    return [line.partition(sign)[2] for line in result.log.splitlines() if sign in line]


def warnings(result: Result) -> list[str]:
    return [line for line in result.log.splitlines() if "warning:" in line.lower()]


def check_all_cached(bench: Bench, result: Result) -> None:
    assert misses(result) == []
    assert bench.counting.layers_pulled == []
    assert len(hits(result)) == 4
