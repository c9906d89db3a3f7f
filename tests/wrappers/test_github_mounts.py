"""What the container of the executor's image is started with: mounts, variables, paths."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from knarr_action.docker.container import archives_of, engine_arguments
from knarr_action.docker.mounts import Mounts
from knarr_action.errors import ActionError
from knarr_action.flags import build_call, index_call
from knarr_action.inputs import Inputs

REPOSITORY = Path(__file__).parents[2]
INSIDE = "/knarr/runner"


def _defaults(action: str) -> dict[str, str]:
    document = yaml.safe_load((REPOSITORY / f"github-actions/{action}/action.yml").read_text())
    return {name: str(entry.get("default", "")) for name, entry in document["inputs"].items()}


class Started:
    """A container that would be started in a directory with a workspace and a scratch directory."""

    def __init__(
        self, directory: Path, given: Mapping[str, str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.workspace = directory / "workspace"
        self.workspace.mkdir(parents=True, exist_ok=True)
        self.scratch = directory / "scratch"
        self.scratch.mkdir(exist_ok=True)
        inputs = Inputs({**_defaults("build"), "executor-image": "image", **given})
        self.call = build_call(inputs, {}, print)
        self.mounts = Mounts(self.workspace, self.scratch)
        arguments = list(engine_arguments(self.call, inputs, environment or {}, self.scratch, self.mounts))
        position = arguments.index("image")
        self.options, self.arguments = arguments[:position], arguments[position + 1 :]

    @property
    def volumes(self) -> dict[str, str]:
        """By path inside, path outside and mode; without the workspace."""
        found = {}
        for option in self.options:
            if option.startswith("--volume="):
                outside, inside, mode = option.removeprefix("--volume=").split(":")
                found[inside] = f"{outside}:{mode}"
        assert found.pop(f"{INSIDE}/workspace") == f"{self.workspace}:ro"
        return found

    def values(self, flag: str) -> list[str]:
        """The values of a flag of the executor."""
        return [each.partition("=")[2] for each in self.arguments if each.startswith(f"--{flag}=")]


def test_options(tmp_path: Path) -> None:
    given = {
        "docker-options": "--add-host=a:1\n--label=text=a b",
        "secret-envs": "npm=TOKEN,other=EMPTY",
        "build-args": "FROM_ENV",
    }
    environment = {
        "GITHUB_WORKSPACE": "/of/the/runner",
        "TOKEN": "s3cret",
        "EMPTY": "",
        "CI": "",
        "FROM_ENV": "value",
        "UNRELATED": "other",
        "KNARR_DIR": "/somewhere",
    }
    started = Started(tmp_path, given, environment)
    assert [option for option in started.options if not option.startswith("--volume=")] == [
        "run",
        "--rm",
        "--network=host",
        f"--workdir={INSIDE}/workspace",
        "--env=EMPTY",
        "--env=FROM_ENV",
        f"--env=GITHUB_WORKSPACE={INSIDE}/workspace",
        "--env=TOKEN",
        "--add-host=a:1",
        "--label=text=a b",
    ]
    assert started.volumes == {}
    assert started.arguments == list(started.call.arguments)
    assert not started.mounts.have_results


def test_network_of_the_container(tmp_path: Path) -> None:
    options = Started(tmp_path, {"docker-options": "--network=mine", "network": "none"}).options
    assert [option for option in options if option.startswith("--network")] == ["--network=mine"]
    inputs = Inputs({**_defaults("index"), "images": "a", "tags": "b", "network": "bridge"})
    mounts = Mounts(tmp_path, tmp_path)
    assert "--network=bridge" in engine_arguments(index_call(inputs), inputs, {}, tmp_path, mounts)


SURROUNDINGS = {"add-hosts": "a:1.2.3.4,b=[::1]", "shm-size": "1g", "ulimit": "nofile=1:2"}


def test_what_steps_share_with_the_container(tmp_path: Path) -> None:
    """In place a step has the container's hosts and /dev/shm."""
    started = Started(tmp_path, SURROUNDINGS)
    assert started.options[-3:] == ["--add-host=a:1.2.3.4", "--add-host=b:::1", "--shm-size=1g"]
    assert started.values("ulimit") == ["nofile=1:2"]
    assert started.values("add-host") == started.values("shm-size") == []


def test_what_steps_in_namespaces_have_of_their_own(tmp_path: Path) -> None:
    started = Started(tmp_path, {**SURROUNDINGS, "docker-options": "--cap-add=SYS_ADMIN"})
    assert started.options[-1] == "--cap-add=SYS_ADMIN"
    assert started.values("add-host") == ["a:1.2.3.4", "b=[::1]"]
    assert started.values("shm-size") == ["1g"]


FILES: list[tuple[dict[str, str], str]] = [
    ({"outputs": "type=docker,dest={}"}, "tar-path"),
    ({"outputs": "type=oci,dest={}"}, "output"),
    ({"outputs": "type=tar,dest={}"}, "output"),
    ({"outputs": 'type=docker,name=a,"dest={}"'}, "output"),
    *(
        ({"extra-args": f"--{flag}={{}}"}, flag)
        for flag in (
            "tar-path tarPath digest-file image-name-with-digest-file image-name-tag-with-digest-file "
            "metadata-file dotenv-file report".split()
        )
    ),
    ({"extra-args": "--digest-file\n{}"}, "digest-file"),
    ({"extra-args": "--result-file=IMAGES={}"}, "result-file"),
]


@pytest.mark.parametrize(("given", "flag"), FILES)
@pytest.mark.parametrize("is_absolute", [True, False])
def test_a_file_is_made_in_a_directory_of_its_own(
    tmp_path: Path, given: dict[str, str], flag: str, *, is_absolute: bool
) -> None:
    place = tmp_path / "runner/new/file" if is_absolute else Path("../workspace/new/file")
    started = Started(tmp_path, {name: text.format(place) for name, text in given.items()})
    (value,) = started.values(flag)
    assert f"{INSIDE}/results/0/file" in value
    assert str(place) not in " ".join(started.arguments)
    assert started.volumes == {f"{INSIDE}/results": f"{tmp_path}/scratch/results:rw"}
    (tmp_path / "scratch/results/0/file").write_text("made")
    assert started.mounts.have_results
    started.mounts.deliver()
    assert (started.workspace / place).read_text() == "made"


DIRECTORIES: list[tuple[dict[str, str], str]] = [
    ({"outputs": "type=oci,tar=false,dest={}"}, "oci-layout-path"),
    ({"outputs": "type=oci,tar=false,name=a,dest={}"}, "output"),
    ({"outputs": "type=local,dest={}"}, "output"),
    ({"outputs": "{}"}, "output"),
    ({"cache-to": "type=local,dest={}"}, "cache-repo"),
    ({"cache-repo": "oci:{}"}, "cache-repo"),
    ({"extra-args": "--mount-cache-dir={}"}, "mount-cache-dir"),
]


@pytest.mark.parametrize(("given", "flag"), DIRECTORIES)
def test_a_directory_that_is_written_to(tmp_path: Path, given: dict[str, str], flag: str) -> None:
    place = tmp_path / "runner/new"
    started = Started(tmp_path, {name: text.format(place) for name, text in given.items()})
    ((inside, volume),) = started.volumes.items()
    assert volume == f"{place}:rw"
    assert inside.startswith(f"{INSIDE}/")
    assert started.values(flag)[0].endswith(inside)
    assert place.is_dir()
    within = Started(tmp_path, {name: text.format("made/here") for name, text in given.items()})
    assert within.volumes == {f"{INSIDE}/workspace/made/here": f"{within.workspace}/made/here:rw"}
    assert within.values(flag)[0].endswith("made/here")
    assert within.arguments == list(within.call.arguments)


READ: list[tuple[dict[str, str], str]] = [
    ({"context": "{}"}, "context"),
    ({"file": "{}"}, "dockerfile"),
    ({"build-contexts": "a={}"}, "build-context"),
    ({"build-contexts": "a=oci-layout://{}"}, "build-context"),
    ({"build-contexts": "a=oci-layout://{}:tag"}, "build-context"),
    ({"build-contexts": "a=oci-layout://{}@sha256:0"}, "build-context"),
    ({"secret-files": "a={}"}, "secret"),
    ({"ssh": "a={}"}, "ssh"),
    ({"cache-from": "type=local,src={}", "cache-to": "r.example/a"}, "cache-from"),
    ({"extra-args": "--cache-dir={}"}, "cache-dir"),
    ({"extra-args": "--context=tar://{}"}, "context"),
    ({"extra-args": "--registry-certificate=r.example={}"}, "registry-certificate"),
]


@pytest.mark.parametrize(("given", "flag"), READ)
def test_what_is_read(tmp_path: Path, given: dict[str, str], flag: str) -> None:
    place = tmp_path / "of a runner"
    place.mkdir()
    started = Started(tmp_path, {name: text.format(place) for name, text in given.items()})
    ((inside, volume),) = started.volumes.items()
    assert volume == f"{place}:ro"
    assert inside.startswith(f"{INSIDE}/")
    assert inside in started.values(flag)[-1]
    assert str(place) not in " ".join(started.arguments)
    (tmp_path / "workspace/in it").mkdir()
    relative = Started(tmp_path, {name: text.format("in it") for name, text in given.items()})
    assert relative.volumes == {}
    assert relative.arguments == list(relative.call.arguments)
    whole = Started(
        tmp_path, {name: text.format(tmp_path / "workspace/in it") for name, text in given.items()}
    )
    assert whole.volumes == {}
    assert f"{INSIDE}/workspace/in it" in whole.values(flag)[-1]


def test_what_leads_out_of_the_workspace_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace/link").symlink_to(tmp_path / "elsewhere")
    started = Started(tmp_path, {"context": "link", "build-contexts": "a=../elsewhere"})
    assert sorted(started.volumes.values()) == [
        f"{tmp_path}/elsewhere:ro",
        f"{tmp_path}/workspace/link:ro",
    ]


def test_ignore_file_beside_a_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "File").touch()
    (tmp_path / "File.dockerignore").touch()
    started = Started(tmp_path, {"file": str(tmp_path / "File")})
    (inside,) = started.values("dockerfile")
    assert started.volumes == {
        inside: f"{tmp_path}/File:ro",
        f"{inside}.dockerignore": f"{tmp_path}/File.dockerignore:ro",
    }


@pytest.mark.parametrize(
    "given",
    [
        {"extra-args": "--report=/dev/stdout"},
        {"extra-args": "--digest-file=https://r.example/a"},
        {"build-contexts": "a=docker-image://b"},
        {"context": "missing", "file": "/missing"},
        {"extra-args": "--secret=no record"},
        {"extra-args": '--output="no record'},
        {"extra-args": "--context=tar://stdin"},
    ],
)
def test_what_is_no_file_of_the_runner(tmp_path: Path, given: dict[str, str]) -> None:
    started = Started(tmp_path, given)
    assert started.volumes == {}
    assert started.arguments == list(started.call.arguments)


def test_variables_that_name_files(tmp_path: Path) -> None:
    names = {
        "GITHUB_OUTPUT": "rw",
        "GITHUB_STEP_SUMMARY": "rw",
        "GITHUB_ARTIFACTS": "rw",
        "GOOGLE_APPLICATION_CREDENTIALS": "ro",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "ro",
        "AWS_SHARED_CREDENTIALS_FILE": "ro",
        "AZURE_FEDERATED_TOKEN_FILE": "ro",
        "SSH_AUTH_SOCK": "ro",
    }
    for name in names:
        (tmp_path / name).touch()
    environment = {name: str(tmp_path / name) for name in names}
    started = Started(tmp_path, {"ssh": "default"}, environment)
    given = dict(
        option.removeprefix("--env=").split("=") for option in started.options if option.startswith("--env=")
    )
    assert {name: started.volumes[inside] for name, inside in given.items()} == {
        name: f"{tmp_path}/{name}:{mode}" for name, mode in names.items()
    }
    assert all(inside.startswith(f"{INSIDE}/") for inside in given.values())


def test_certificates(tmp_path: Path) -> None:
    (tmp_path / "scratch/certificates").mkdir(parents=True)
    started = Started(tmp_path, {"ca-file": "company.pem"}, {"SSL_CERT_DIR": "/of/the/runner"})
    ((inside, volume),) = started.volumes.items()
    assert volume == f"{tmp_path}/scratch/certificates:ro"
    assert f"--env=SSL_CERT_DIR=/kaniko/ssl/certs:{inside}" in started.options


def test_archives_to_load(tmp_path: Path) -> None:
    started = Started(tmp_path, {"outputs": "type=docker,name=a:1\ntype=docker"})
    assert [path.name for path in archives_of(started.call, started.scratch)] == [
        "image-0.tar",
        "image-1.tar",
    ]
    assert started.values("output") == [
        f"type=docker,name=a:1,dest={INSIDE}/results/0/image-0.tar",
        f"type=docker,dest={INSIDE}/results/1/image-1.tar",
    ]
    started = Started(tmp_path / "other", {"load": "true"})
    assert started.values("tar-path") == [f"{INSIDE}/results/0/image-0.tar"]


def test_a_file_that_is_no_place_for_an_output(tmp_path: Path) -> None:
    with pytest.raises(ActionError, match="is a directory"):
        Started(tmp_path, {"outputs": f"type=docker,dest={tmp_path}"})
