"""Commands that pipelines give to kaniko, unchanged, given to our image in stock containers of Docker."""

import base64
import json
import re
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from knarr.version import __version__
from support.counting_registry import CountingRegistry
from support.docker_engine import Engine, RefusedError
from support.flatten import FlatImage, flatten_docker_archive
from support.pushed import pushed_image
from support.registry import Registry

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

IMAGE = "knarr/executor:debug"
WARMER = f"knarr/warmer:{__version__}"
USER = ("sailor", "a pass:word")
DIGEST = re.compile("sha256:[0-9a-f]{64}")
SHELL = "--entrypoint="
DOCKERFILE = """\
FROM REGISTRY/library/busybox AS first
ARG WHO=nobody
RUN id -u > /user; echo $WHO > /who
FROM REGISTRY/library/busybox
COPY --from=first /user /who /
RUN cat /proc/sys/kernel/random/uuid > /once
COPY file /
"""


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    started = Registry.start(tmp_path_factory.mktemp("locked"), auth=USER)
    yield started
    started.stop()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A project, a registry that wants a password, and an engine that runs our image."""

    engine: Engine
    registry: Registry
    place: Path

    @property
    def project(self) -> Path:
        return self.place / "project"

    @property
    def config(self) -> Path:
        return self.place / "config.json"

    def run(self, arguments: Sequence[str], *options: str) -> str:
        return self.engine.run(IMAGE, arguments, options=options)

    def script(self, text: str, *options: str) -> str:
        """What a GitLab runner or Jenkins does: the entry point is no program, a shell gets the script."""
        return self.run(["sh", "-c", f"set -eu\n{text}"], SHELL, *options)

    def check(self, name: str) -> FlatImage:
        image = pushed_image(self.registry, name, Path(tempfile.mkdtemp(dir=self.place), "image"), user=USER)
        assert image.files["/user"].text == "0\n"
        assert image.files["/file"].text == "from the project\n"
        return image


@pytest.fixture
def pipeline(engine: Engine, base_registry: Registry, locked: Registry, tmp_path: Path) -> Pipeline:
    made = Pipeline(engine, locked, tmp_path)
    made.project.mkdir()
    (made.project / "Dockerfile").write_text(DOCKERFILE.replace("REGISTRY", base_registry.host))
    (made.project / "file").write_text("from the project\n")
    made.config.write_text(_config(locked.host))
    return made


def _config(host: str) -> str:
    auth = base64.b64encode(":".join(USER).encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth}}})


def test_docker_run_with_a_config_file(pipeline: Pipeline) -> None:
    """kaniko's README, "Running kaniko in Docker"."""
    pipeline.run(
        [
            "--dockerfile",
            "/workspace/Dockerfile",
            "--destination",
            f"{pipeline.registry.host}/docker/run:1",
            "--context",
            "dir:///workspace/",
        ],
        f"--volume={pipeline.config}:/kaniko/.docker/config.json:ro",
        f"--volume={pipeline.project}:/workspace",
    )
    pipeline.check("docker/run:1")


def test_wrong_credentials_end_it_before_the_build(pipeline: Pipeline) -> None:
    pipeline.config.write_text(_config("elsewhere.example"))
    with pytest.raises(RefusedError, match="no credentials for"):
        pipeline.run(
            [f"--destination={pipeline.registry.host}/docker/run:2"],
            f"--volume={pipeline.config}:/kaniko/.docker/config.json:ro",
            f"--volume={pipeline.project}:/workspace",
        )


@pytest.mark.parametrize("key", ["config.json", ".dockerconfigjson"])
def test_tekton_catalog(pipeline: Pipeline, key: str) -> None:
    """The Task `kaniko` 0.6 and 0.7: `$(EXTRA_ARGS)` come first, the results need a file."""
    results, secret = pipeline.place / "results", pipeline.place / "secret"
    results.mkdir()
    secret.mkdir()
    (secret / key).write_text(pipeline.config.read_text())
    pipeline.run(
        [
            "--build-arg=WHO=tekton",
            "--dockerfile=./Dockerfile",
            "--context=/workspace/source/./",
            f"--destination={pipeline.registry.host}/tekton/app:1",
            "--digest-file=/tekton/results/IMAGE_DIGEST",
        ],
        "--user=0",
        "--workdir=/workspace/source",
        f"--volume={pipeline.project}:/workspace/source",
        f"--volume={results}:/tekton/results",
        f"--volume={secret}:/kaniko/.docker:ro",
    )
    digest = (results / "IMAGE_DIGEST").read_text()
    assert DIGEST.fullmatch(digest)
    assert pipeline.check(f"tekton/app@{digest}").files["/who"].text == "tekton\n"


GITLAB = """
mkdir -p /kaniko/.docker
echo "{\\"auths\\":{\\"${CI_REGISTRY}\\":{\\"auth\\":\\"$(printf "%s:%s" "${CI_REGISTRY_USER}" \
"${CI_REGISTRY_PASSWORD}" | base64 | tr -d '\\n')\\"}}}" > /kaniko/.docker/config.json
"""
GITLAB_BUILD = """\
/kaniko/executor
      --context "${CI_PROJECT_DIR}"
      --dockerfile "${CI_PROJECT_DIR}/Dockerfile"
      --destination "${CI_REGISTRY_IMAGE}:${CI_COMMIT_TAG}"
""".strip().replace("\n     ", "")


@pytest.mark.parametrize("before", [GITLAB, ""], ids=["config-file", "variables"])
def test_gitlab(pipeline: Pipeline, before: str) -> None:
    """GitLab's page on kaniko; the job's shell goes on after the build, in the project's directory."""
    variables = {
        "CI_PROJECT_DIR": "/builds/team/app",
        "CI_REGISTRY": pipeline.registry.host,
        "CI_REGISTRY_USER": USER[0],
        "CI_REGISTRY_PASSWORD": USER[1],
        "CI_REGISTRY_IMAGE": f"{pipeline.registry.host}/gitlab/app",
        "CI_COMMIT_TAG": "v1.0",
    }
    output = pipeline.script(
        f'{before}\ncd "$CI_PROJECT_DIR"\n{GITLAB_BUILD}\npwd; ls; test ! -e /user; echo "after $?"',
        *(f"--env={name}={value}" for name, value in variables.items()),
        f"--volume={pipeline.project}:/builds/team/app",
    )
    assert output.splitlines()[1:] == ["/builds/team/app", "Dockerfile", "file", "after 0"]
    pipeline.check("gitlab/app:v1.0")


def test_github_action(pipeline: Pipeline) -> None:
    """int128/kaniko-action: paths below /kaniko/action, the cache in a repository, used by a second build."""
    outputs = pipeline.place / "outputs"
    outputs.mkdir()
    arguments = [
        "--context",
        "dir:///kaniko/action/context/",
        "--build-arg",
        "WHO=github",
        "--label",
        "org.opencontainers.image.title=a title",
        "--digest-file",
        "/kaniko/action/outputs/digest",
        "--cache=true",
        "--cache-repo",
        f"{pipeline.registry.host}/github/cache",
        "--cache-ttl=24h",
        "--destination",
        f"{pipeline.registry.host}/github/app:main",
        "--destination",
        f"{pipeline.registry.host}/github/app:sha",
    ]
    options = [
        f"--volume={pipeline.project}:/kaniko/action/context:ro",
        f"--volume={outputs}:/kaniko/action/outputs",
        f"--volume={pipeline.config}:/kaniko/.docker/config.json:ro",
    ]
    pipeline.run(arguments, *options)
    first = (outputs / "digest").read_text()
    image = pipeline.check("github/app:sha")
    assert image.config["config"]["Labels"] == {"org.opencontainers.image.title": "a title"}
    assert DIGEST.fullmatch(first)
    pipeline.run(arguments, *options)
    again = pipeline.check(f"github/app@{(outputs / 'digest').read_text()}")
    assert again.files["/once"] == image.files["/once"]


def test_jenkins(pipeline: Pipeline) -> None:
    """A container that was kept alive gets a script, with the flags that are often copied."""
    host = pipeline.registry.host
    pipeline.script(
        "cd /home/jenkins/agent\n"
        "/kaniko/executor -f `pwd`/Dockerfile -c `pwd` --insecure --skip-tls-verify --cleanup --force "
        "-v info --log-format=text --snapshotMode=redo --use-new-run --compressed-caching=false "
        f"--push-retry 3 --cache=true --cache-copy-layers --destination={host}/jenkins/app:1 "
        "--image-name-with-digest-file=name --tarPath=image.tar && cat name && rm name",
        f"--volume={pipeline.project}:/home/jenkins/agent",
        f"--volume={pipeline.config}:/kaniko/.docker/config.json:ro",
    )
    image = pipeline.check("jenkins/app:1")
    assert flatten_docker_archive(pipeline.project / "image.tar").files == image.files


def test_context_from_standard_input(pipeline: Pipeline) -> None:
    output = pipeline.script(
        "tar -C /project -czf - . | /kaniko/executor --context tar://stdin "
        f"--destination={pipeline.registry.host}/stdin/app:1 "
        "--image-name-tag-with-digest-file=/tmp/name >&2\ncat /tmp/name",
        f"--volume={pipeline.project}:/project:ro",
        f"--volume={pipeline.config}:/kaniko/.docker/config.json:ro",
    )
    assert re.fullmatch(f"{pipeline.registry.host}/stdin/app:1@{DIGEST.pattern}\n", output)
    pipeline.check("stdin/app:1")


@pytest.mark.parametrize("image", [WARMER, IMAGE])
def test_warmer(image: str, pipeline: Pipeline, base_registry: Registry) -> None:
    """kaniko's README, "Caching Base Images": a volume is filled, then a build asks for no base layer."""
    cache = pipeline.place / "cache"
    cache.mkdir()
    repository = f"{pipeline.registry.host}/warmed/{image.partition(':')[0]}"
    options = [f"--volume={cache}:/cache", f"--volume={pipeline.project}:/workspace"]
    with CountingRegistry(base_registry) as counting:
        base = f"{counting.registry.host}/library/debian"
        (pipeline.project / "Dockerfile").write_text(f"FROM {base}\nRUN id -u > /user\nCOPY file /\n")
        by_name = ["--entrypoint=/kaniko/warmer"] if image == IMAGE else []
        arguments = ["--cache-dir=/cache", f"--image={base}"]
        pipeline.engine.run(image, arguments, options=[*options, *by_name])
        assert len(counting.layers_pulled) == 1
        counting.forget()
        pipeline.run(
            [
                "--cache=true",
                "--cache-dir=/cache",
                f"--cache-repo={repository}/cache",
                f"--destination={repository}:1",
            ],
            *options,
            f"--volume={pipeline.config}:/kaniko/.docker/config.json:ro",
        )
        assert counting.layers_pulled == []
    pipeline.check(f"warmed/{image.partition(':')[0]}:1")


def test_debug_is_another_name_of_the_executor(archives: Path) -> None:
    with tarfile.open(archives / "executor.tar") as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        (image,) = json.load(manifest)
    tags = ("debug", __version__, f"{__version__}-debug")
    assert set(image["RepoTags"]) == {f"docker.io/knarr/executor:{tag}" for tag in tags}


def test_the_status_is_that_of_the_step(pipeline: Pipeline) -> None:
    (pipeline.project / "Dockerfile").write_text(
        (pipeline.project / "Dockerfile").read_text() + "RUN exit 42\n"
    )
    with pytest.raises(RefusedError, match="status 42"):
        pipeline.run(["--no-push"], f"--volume={pipeline.project}:/workspace")
