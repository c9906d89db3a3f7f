"""The Task knarr-context with buckets of S3, Azure Blob and Google Cloud Storage, at servers that refuse."""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml

from support.azure_store import AzureStore, azure_store
from support.bases import push
from support.docker_engine import RefusedError
from support.gcs_store import GcsStore, gcs_store, new_key
from support.image_layout import MANIFEST_TYPE
from support.object_store import lock, object_store
from support.pipelinerun import SUCCEEDED, PipelineRunner
from support.rclone import rclone_image, rclone_version
from support.registry import Registry
from support.secret_volume import secret_volume
from support.taskrun import TaskRunner, load_task
from support.tekton_files import TASKS
from support.tekton_variables import Value

pytestmark = [pytest.mark.docker, pytest.mark.registry, pytest.mark.root]

CONTEXT = load_task(TASKS / "knarr-context/0.1/knarr-context.yaml")
IMAGES = {each["name"]: each["default"] for each in CONTEXT["params"] if each["name"].endswith("_IMAGE")}
LATER = {
    "name": "later",
    "image": IMAGES["GIT_IMAGE"],
    "workspaces": [{"name": "source"}],
    "script": "#!/bin/sh\nls /workspace; env; find /workspace /tekton /tmp -type f -exec cat {} +\n",
}
"""A step that could be a build: it prints all it can read."""
WATCHED = {**CONTEXT, "steps": [*CONTEXT["steps"], LATER]}
DOCKERFILE = "FROM scratch\nLABEL of=bucket\nCOPY deep/file /\n"

Files = Mapping[str, str]
NO_COMMIT = {"commit": "", "committer-date": ""}
"""Results of what is no git repository: all are there, since a Pipeline may refer to them."""


@dataclass(frozen=True)
class Bucket:
    """A bucket with the credentials for it, and such as it refuses, by the keys of a Secret."""

    url: str
    params: Files
    right: Files
    wrong: Files
    hint: str
    """What the log names where they are refused."""
    private: list[str]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each bucket holds: an archive, and the same as a tree."""
    directory = tmp_path_factory.mktemp("content")
    tree = directory / "app/tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "Dockerfile").write_text(DOCKERFILE)
    (tree / "deep/file").write_text("deep\n")
    with tarfile.open(directory / "app/context.tar.gz", "w:gz") as tar:
        tar.add(tree, "")
    return directory


@pytest.fixture(scope="module")
def s3(content: Path) -> Iterator[tuple[str, Files]]:
    """The server's address, the key that it knows."""
    files = [path for path in content.rglob("*") if path.is_file()]
    objects = {path.relative_to(content).as_posix(): path.read_bytes() for path in files}
    with object_store({"builds": objects}) as address:
        yield address, lock(address)


@pytest.fixture(scope="module")
def azure(content: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureStore]:
    with azure_store("builds", content, tmp_path_factory.mktemp("azurite")) as store:
        yield store


@pytest.fixture(scope="module")
def gcs(content: Path) -> Iterator[GcsStore]:
    with gcs_store("builds", content) as store:
        yield store


def _of_s3(address: str, keys: Files, *, as_file: bool) -> Bucket:
    other = {**keys, "AWS_SECRET_ACCESS_KEY": "not-the-secret-of-it"}
    private = [*keys.values(), *other.values()]
    right, wrong = (_aws_file(each) if as_file else each for each in (keys, other))
    return Bucket("s3://builds", {"S3_ENDPOINT": address}, right, wrong, "AWS_ACCESS_KEY_ID", private)


def _aws_file(keys: Files) -> Files:
    lines = [f"{name.lower()} = {value}" for name, value in keys.items()]
    return {"credentials": "\n".join(["[default]", *lines, ""])}


def _of_azure(store: AzureStore, key: str) -> Bucket:
    other = AzureStore(store.endpoint).key
    token, other_token = store.sas_token(), store.sas_token(other)
    right, wrong = {
        "AZURE_STORAGE_KEY": (store.key, other),
        "AZURE_STORAGE_ACCESS_KEY": (store.key, other),
        "AZURE_STORAGE_SAS_TOKEN": (f"?{token}", other_token),
        "AZURE_STORAGE_SAS_URL": (f"{store.endpoint}/builds?{token}", f"{store.endpoint}?{other_token}"),
        "AZURE_STORAGE_CONNECTION_STRING": (
            store.connection_string(),
            replace(store, key=other).connection_string(),
        ),
    }[key]
    private = [store.key, other, token.rpartition("sig=")[2], other_token.rpartition("sig=")[2]]
    params, secret = {"AZURE_ENDPOINT": store.endpoint}, {"AZURE_STORAGE_ACCOUNT": store.account}
    if key in ("AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"):
        params, secret = {**params, "AZURE_ACCOUNT": store.account}, {}
    elif key != "AZURE_STORAGE_ACCESS_KEY":
        # The account with its endpoint is in them.
        params, secret = {}, {}
    hint = "AZURE_STORAGE_SAS_TOKEN"
    return Bucket("azblob://builds", params, {**secret, key: right}, {**secret, key: wrong}, hint, private)


def _of_gcs(store: GcsStore) -> Bucket:
    right, wrong = (store.service_account(key) for key in (store.key, new_key()))
    # Lines of a key, as its file has them.
    private = [line for text in (right, wrong) for line in text.split("\\n")[1:5]]
    params = {"GCS_ENDPOINT": store.endpoint}
    name = "service-account.json"
    return Bucket("gs://builds", params, {name: right}, {name: wrong}, name, private)


WHOLE = ("s3", "azure AZURE_STORAGE_KEY", "azure AZURE_STORAGE_SAS_TOKEN", "gcs")


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Bucket:
    kind, _, key = request.param.partition(" ")
    server = request.getfixturevalue(kind)
    if kind == "s3":
        return _of_s3(*server, as_file=key == "credentials")
    return _of_azure(server, key) if kind == "azure" else _of_gcs(server)


@pytest.fixture(scope="module")
def rclone(base_registry: Registry) -> str:
    """The image that stands in for rclone's: the program of that very version, with busybox."""
    assert IMAGES["RCLONE_IMAGE"].endswith(f":{rclone_version()}"), "pyproject.toml has another rclone"
    push([rclone_image()], base_registry.host)
    return "rclone"


@dataclass
class Fetcher:
    """Runs the Task, into the same workspace each time."""

    runner: TaskRunner
    place: Path
    source: Path
    volumes: int = field(default=0)

    def fetch(self, secret: Files | None, private: list[str], **params: str) -> dict[str, Value]:
        """The results, once it is clear that nothing private is left anywhere."""
        self.runner.logs.clear()
        try:
            return self.runner.run(WATCHED, params, {"source": self.source, **self._volume(secret)})
        finally:
            texts = list(self.runner.logs)
            for root in (self.source, self.runner.directory):
                texts += [path.read_bytes().decode("latin-1") for path in root.rglob("*") if path.is_file()]
            assert not [word for word in private for text in texts if word in text]

    def refused(self, secret: Files | None, private: list[str], **params: str) -> tuple[str, str]:
        """What failed, what to change: the last two lines of the log."""
        with pytest.raises(RefusedError, match="step archive"):
            self.fetch(secret, private, **params)
        *_, error, hint = self.runner.logs[-1].strip().splitlines()
        return error.removeprefix("error: "), hint.removeprefix("hint: ")

    def _volume(self, secret: Files | None) -> Mapping[str, Path]:
        if secret is None:
            return {}
        self.volumes += 1
        return {"bucket-credentials": secret_volume(self.place / f"secret{self.volumes}", secret)}


@pytest.fixture
def fetcher(runner: TaskRunner, tools: None, rclone: str, tmp_path: Path) -> Fetcher:
    source = tmp_path / "source"
    source.mkdir()
    source.chmod(0o777)
    images = {**runner.images, IMAGES["RCLONE_IMAGE"]: rclone}
    return Fetcher(replace(runner, images=images), tmp_path, source)


def _names(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("bucket", WHOLE, indirect=True)
def test_archives_and_trees(fetcher: Fetcher, bucket: Bucket, content: Path) -> None:
    url = f"{bucket.url}/app/context.tar.gz"
    checksum = hashlib.sha256((content / "app/context.tar.gz").read_bytes()).hexdigest()
    (fetcher.source / "left over").write_text("")
    results = fetcher.fetch(bucket.right, bucket.private, **bucket.params, URL=url, CHECKSUM=checksum)
    assert results == {**NO_COMMIT, "url": url, "checksum": checksum}
    assert _names(fetcher.source) == ["Dockerfile", "deep/file"]
    # The step after it had the context, and of this Task's secret the empty place in the pod's /workspace.
    assert fetcher.runner.logs[-1].startswith("bucket-credentials\nsource\n")
    assert DOCKERFILE in fetcher.runner.logs[-1]
    tree = f"{bucket.url}/app/tree/"
    results = fetcher.fetch(bucket.right, bucket.private, **bucket.params, URL=tree, SUBDIRECTORY="sub")
    assert results == {**NO_COMMIT, "url": tree, "checksum": ""}
    assert _names(fetcher.source / "sub") == ["Dockerfile", "deep/file"]
    assert (fetcher.source / "sub/deep/file").read_text() == "deep\n"


@pytest.mark.parametrize("bucket", WHOLE, indirect=True)
def test_what_is_refused(fetcher: Fetcher, bucket: Bucket, content: Path) -> None:
    """Each ends in a line that says what to change."""
    url = f"{bucket.url}/app/context.tar.gz"
    for place in (url, f"{bucket.url}/app/tree/"):
        error, hint = fetcher.refused(bucket.wrong, bucket.private, **bucket.params, URL=place)
        assert error == f"can't fetch {place} with the credentials given"
        assert bucket.hint in hint
        assert "bucket-credentials" in hint
    for place in (f"{bucket.url}/app/none.tar.gz", f"{bucket.url}/none/"):
        error, hint = fetcher.refused(bucket.right, bucket.private, **bucket.params, URL=place)
        assert error == f"there is nothing at {place}"
        assert hint.startswith("check bucket and key")
    params = {**bucket.params, "CHECKSUM": "0" * 64}
    error, hint = fetcher.refused(bucket.right, bucket.private, **params, URL=url)
    actual = hashlib.sha256((content / "app/context.tar.gz").read_bytes()).hexdigest()
    assert error == f"{url} has the sha256 {actual}, not {'0' * 64}"
    assert _names(fetcher.source) == []
    error, hint = fetcher.refused({"other": "x"}, [], **bucket.params, URL=url)
    assert error == f"the workspace bucket-credentials has nothing for {url}"
    assert bucket.hint in hint


@pytest.mark.parametrize(
    "bucket",
    [
        "s3 credentials",
        "azure AZURE_STORAGE_ACCESS_KEY",
        "azure AZURE_STORAGE_SAS_URL",
        "azure AZURE_STORAGE_CONNECTION_STRING",
    ],
    indirect=True,
)
def test_other_forms_of_credentials(fetcher: Fetcher, bucket: Bucket) -> None:
    url = f"{bucket.url}/app/context.tar.gz"
    fetcher.fetch(bucket.right, bucket.private, **bucket.params, URL=url)
    assert _names(fetcher.source) == ["Dockerfile", "deep/file"]
    error, hint = fetcher.refused(bucket.wrong, bucket.private, **bucket.params, URL=url)
    assert error == f"can't fetch {url} with the credentials given"
    assert bucket.hint in hint


@pytest.mark.parametrize("bucket", ["s3", "gcs"], indirect=True)
def test_a_pod_without_an_identity(fetcher: Fetcher, bucket: Bucket) -> None:
    url = f"{bucket.url}/app/context.tar.gz"
    error, hint = fetcher.refused(None, bucket.private, **bucket.params, URL=url)
    assert error == f"can't fetch {url} as this pod"
    assert hint.startswith(f"bind a Secret with {bucket.hint}")


@pytest.mark.parametrize("bucket", ["gcs"], indirect=True)
def test_a_server_that_is_not_there(fetcher: Fetcher, bucket: Bucket) -> None:
    params = {"GCS_ENDPOINT": "http://127.0.0.1:1", "URL": "gs://builds/app/context.tar.gz"}
    error, hint = fetcher.refused(bucket.right, bucket.private, **params)
    assert error == "can't reach what has gs://builds/app/context.tar.gz"
    assert "GCS_ENDPOINT" in hint


@pytest.mark.parametrize(
    ("bucket", "key"),
    [("azure AZURE_STORAGE_KEY", "app/tree/"), ("gcs", "app/context.tar.gz")],
    indirect=["bucket"],
)
def test_the_pipeline(fetcher: Fetcher, bucket: Bucket, key: str, base_registry: Registry) -> None:
    """What the Pipeline is told of a bucket reaches the Task."""
    run = yaml.safe_load((TASKS / "pipelines/knarr-fetch-build/0.1/samples/run.yaml").read_text())
    image = f"{base_registry.host}/buckets/{bucket.url.partition(':')[0]}"
    params = {**bucket.params, "URL": f"{bucket.url}/{key}", "IMAGE": f"{image}:1"}
    run["spec"]["params"] = [{"name": name, "value": value} for name, value in params.items()]
    workspaces = [each for each in run["spec"]["workspaces"] if each["name"] != "dockerconfig"]
    run["spec"]["workspaces"] = workspaces
    volumes = {"bucket-credentials": secret_volume(fetcher.place / "secret", bucket.right)}
    outcome = PipelineRunner({"": fetcher.runner}, fetcher.place / "pods", volumes).run(run)
    assert outcome.status == SUCCEEDED, outcome.log
    assert outcome.results["IMAGE_URL"] == f"{image}:1"
    name = image.partition("/")[2]
    manifest = json.loads(base_registry.get(f"{name}/manifests/1", {"Accept": MANIFEST_TYPE}))
    config = json.loads(base_registry.get(f"{name}/blobs/{manifest['config']['digest']}"))
    assert config["config"]["Labels"] == {"of": "bucket"}
    assert not [word for word in bucket.private if word in outcome.log]


def test_a_token_for_a_url_is_not_shown(fetcher: Fetcher, azure: AzureStore) -> None:
    token = azure.sas_token()
    private = [token.rpartition("sig=")[2][:20]]
    url = "azblob://builds/app/context.tar.gz"
    error, hint = fetcher.refused({"AZURE_STORAGE_SAS_URL": token}, private, URL=url)
    assert error == "AZURE_STORAGE_SAS_URL is no URL with a token"
    assert "AZURE_STORAGE_SAS_TOKEN" in hint
    error, hint = fetcher.refused({"AZURE_STORAGE_SAS_TOKEN": token}, private, URL=url)
    assert error == "the storage account is not known"
    assert hint.startswith("set AZURE_ACCOUNT")


def test_a_signed_url(fetcher: Fetcher, azure: AzureStore) -> None:
    """Its query is a credential: it stays out of results and messages."""
    token = azure.sas_token()
    private = [token.rpartition("sig=")[2], "its-signature"]
    url = f"{azure.endpoint}/builds/app/context.tar.gz"
    # The runner keeps the parameter nowhere; in a cluster it is in the TaskRun.
    spec = {**CONTEXT, "steps": CONTEXT["steps"][-1:]}
    results = fetcher.runner.run(spec, {"URL": f"{url}?{token}"}, {"source": fetcher.source})
    assert results["url"] == url
    for place, what in ((url, "403"), ("http://127.0.0.1:1/context.tar.gz", "connection refused")):
        with pytest.raises(RefusedError, match=what):
            fetcher.runner.run(spec, {"URL": f"{place}?sig=its-signature"}, {"source": fetcher.source})
        *_, error, hint = fetcher.runner.logs[-1].strip().splitlines()
        assert error == f"error: can't fetch {place}"
        assert hint == "hint: is the URL right, and reachable, and not yet expired?"
    assert not [word for word in private for text in fetcher.runner.logs if word in text]


def test_a_directory_has_no_checksum(fetcher: Fetcher, s3: tuple[str, Files]) -> None:
    params = {"URL": "s3://builds/app/tree/", "S3_ENDPOINT": s3[0], "CHECKSUM": "0" * 64}
    error, hint = fetcher.refused(s3[1], [], **params)
    assert error == "s3://builds/app/tree/ is a directory, which has no checksum"
    assert hint == "leave CHECKSUM empty"
    assert _names(fetcher.source) == []


def test_a_public_archive(fetcher: Fetcher, content: Path) -> None:
    archive = (content / "app/context.tar.gz").read_bytes()
    with object_store({"builds": {"context.tar.gz": archive}}) as address:
        url = f"{address}/builds/context.tar.gz"
        results = fetcher.fetch(None, [], URL=url)
    assert results == {**NO_COMMIT, "url": url, "checksum": hashlib.sha256(archive).hexdigest()}
    assert _names(fetcher.source) == ["Dockerfile", "deep/file"]
