"""A real application: packages from Debian's archive, pushed, run by podman and by Docker."""

import json
from pathlib import Path

import pytest

from support.builds import Builds
from support.docker_engine import Engine
from support.podman import Podman
from support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.docker, pytest.mark.podman]

_APPLICATION = """\
#!/usr/bin/perl
use strict; use warnings; use JSON::PP; use Cwd;
print JSON::PP->new->canonical->encode({
    user => scalar(getpwuid($>)), dir => getcwd(), arguments => \\@ARGV, version => $ENV{APP_VERSION},
    greeting => `figlet -w 60 knarr` =~ /_/ ? "large" : "none",
});
"""
_DOCKERFILE = """\
# syntax=docker/dockerfile:1
ARG APP_VERSION=0
FROM debian AS packages
RUN apt-get update && apt-get install --yes --no-install-recommends figlet && rm -rf /var/lib/apt/lists/*

FROM packages
ARG APP_VERSION
ENV APP_VERSION=${APP_VERSION}
RUN useradd --create-home --uid 1234 sailor
COPY --chown=sailor --chmod=755 app.pl /opt/app/
USER sailor
WORKDIR /home/sailor
RUN <<EOF
set -e
id -un > who
mkdir -p cargo
figlet knarr > cargo/name
EOF
LABEL org.opencontainers.image.title=application
ENTRYPOINT ["/opt/app/app.pl"]
CMD ["by", "default"]
"""


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


def test_application_runs_everywhere(builds: Builds, docker_engine: Engine) -> None:
    name = builds.name("applications/app:1.2")
    builds.build(_DOCKERFILE, "-d", name, "--build-arg", "APP_VERSION=1.2", files={"app.pl": _APPLICATION})
    docker_engine.pull(name)
    podman = Podman.make()
    try:
        outputs = [docker_engine.run(name), podman.run(name)]
        cat = ["/home/sailor/who"]
        assert docker_engine.run(name, cat, options=["--entrypoint=cat"]) == "sailor\n"
    finally:
        podman.close()
    for output in outputs:
        assert json.loads(output) == {
            "user": "sailor",
            "dir": "/home/sailor",
            "arguments": ["by", "default"],
            "version": "1.2",
            "greeting": "large",
        }
