from urllib.parse import parse_qs, urlsplit

import pytest

from knarr.errors import AuthError, CorruptError, RegistryError
from knarr.oci.digest import Digest
from knarr.oci.reference import Reference
from knarr.progress import Pushed
from knarr.registry.auth.credentials import Credentials, CredentialStore
from knarr.registry.auth.given_credentials import OneRegistry
from knarr.registry.client import Client
from knarr.registry.transfer.push import check_push, put_manifest
from knarr.registry.transfer.uploader import BlobUploader
from support.faulty_registry import Answer, Asked, FaultyRegistry
from support.registry_images import Events, SmallImage, push_image

IMAGE = SmallImage.of(b"only layer")
LAYER = IMAGE.manifest.layers[0]


class Harbour:
    """A registry that takes images; each `fault` is asked before."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, bytes] = {}
        self.sessions = 0
        self.location = "/v2/{repository}/blobs/uploads/{session}?_state=a%2Fb%3D"
        self.faults: dict[str, list[Answer]] = {}
        """Answers by the start of `METHOD path`, used up one by one."""

    def __call__(self, asked: Asked) -> Answer:
        for start, answers in self.faults.items():
            if f"{asked.method} {asked.path}".startswith(start) and answers:
                return answers.pop(0)
        return self.handle(asked)

    def handle(self, asked: Asked) -> Answer:
        path = urlsplit(asked.path).path
        name = path.rpartition("/")[2]
        if "/blobs/uploads/" in path:
            return self._upload(asked, path)
        if "/manifests/" in path:
            return self._manifest(asked, name)
        return Answer(200 if name in self.blobs else 404)

    def _upload(self, asked: Asked, path: str) -> Answer:
        if asked.method == "POST":
            self.sessions += 1
            repository = path.removeprefix("/v2/").partition("/blobs/")[0]
            place = self.location.format(
                repository=repository, session=self.sessions, host=asked.headers["host"]
            )
            return Answer(202, headers={"Location": place} if place else {})
        if asked.method == "DELETE":
            return Answer(204)
        query = parse_qs(urlsplit(asked.path).query)
        if query["digest"] != [str(Digest.of(asked.body))]:
            return Answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
        self.blobs[query["digest"][0]] = asked.body
        return Answer(201)

    def _manifest(self, asked: Asked, name: str) -> Answer:
        if asked.method != "PUT":
            data = self.tags.get(name)
            headers = {"Docker-Content-Digest": str(Digest.of(data))} if data else {}
            return Answer(200 if data else 404, data or b"", headers)
        self.tags[name] = asked.body
        return Answer(201, headers={"Docker-Content-Digest": str(Digest.of(asked.body))})


def _client(**options: object) -> Client:
    return Client(sleep=lambda wait_s: None, **options)  # type: ignore[arg-type]


def _push(registry: FaultyRegistry, client: Client, **options: object) -> Digest:
    reference = Reference.parse(f"{registry.host}/team/app:1")
    return push_image(client, reference, IMAGE, **options)  # type: ignore[arg-type]


def _is_complete(harbour: Harbour) -> bool:
    return harbour.tags.get("1") == IMAGE.manifest.to_bytes() and set(harbour.blobs) == {
        str(digest) for digest in IMAGE.blobs
    }


def test_tag_is_last() -> None:
    harbour, events = Harbour(), Events()
    with FaultyRegistry(harbour) as registry, _client(reporter=events) as client:
        _push(registry, client)
    assert _is_complete(harbour)
    assert registry.lines[-1] == "PUT /v2/team/app/manifests/1"
    assert sum(line.startswith("PUT") and "/manifests/" in line for line in registry.lines) == 1
    assert isinstance(events.events[-1], Pushed)


@pytest.mark.parametrize(
    "location",
    [
        "/v2/{repository}/blobs/uploads/{session}",
        "{session}",
        "/v2/{repository}/blobs/uploads/{session}?_state=a%2Fb%3D&x=",
        "http://{host}/v2/{repository}/blobs/uploads/{session}?_state=q",
        "//{host}/v2/{repository}/blobs/uploads/{session}",
        "/other/place/blobs/uploads/{session}",
    ],
)
def test_location_forms(location: str) -> None:
    harbour = Harbour()
    harbour.location = location
    with FaultyRegistry(harbour) as registry, _client() as client:
        _push(registry, client)
    assert _is_complete(harbour)
    if "_state" in location:
        query = location.partition("?")[2]
        puts = [line for line in registry.lines if line.startswith("PUT") and "uploads" in line]
        assert puts
        assert all(f"?{query}&digest=sha256:" in line for line in puts)


@pytest.mark.parametrize(
    "location", ["", "ftp://{host}/x", "http://169.254.169.254/x", "http://a:b@{host}/x"]
)
def test_bad_locations_end_it(location: str) -> None:
    harbour = Harbour()
    harbour.location = location
    with FaultyRegistry(harbour) as registry, _client() as client, pytest.raises(RegistryError):
        _push(registry, client)
    assert not harbour.tags
    assert not any(line.startswith("PUT") for line in registry.lines)


def test_upload_to_another_host_takes_no_credentials() -> None:
    harbour, storage = Harbour(), Harbour()

    def guarded(asked: Asked) -> Answer:
        if "authorization" not in asked.headers:
            return Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return harbour(asked)

    with FaultyRegistry(storage) as other, FaultyRegistry(guarded) as registry:
        harbour.location = f"http://{other.host}/v2/x/blobs/uploads/{{session}}"
        known = OneRegistry("tests", registry.host, Credentials("tests", "bob", "hunter2"))
        with _client(credentials=CredentialStore(provider=known)) as client:
            _push(registry, client)
        assert harbour.tags
        assert len(storage.blobs) == 2
        assert all("authorization" not in asked.headers for asked in other.asked)


@pytest.mark.parametrize("start", ["HEAD", "POST", "PUT /v2/team/app/blobs", "PUT /v2/team/app/manifests"])
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, None])
def test_passing_faults_are_not_seen(start: str, status: int | None) -> None:
    harbour = Harbour()
    harbour.faults = {start: [Answer(status)]}
    with FaultyRegistry(harbour) as registry, _client() as client:
        assert _push(registry, client) == IMAGE.descriptor.digest
    assert _is_complete(harbour)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'),
        Answer(400, b'{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}'),
        Answer(416),
    ],
)
def test_lost_session_is_begun_anew(answer: Answer) -> None:
    harbour = Harbour()
    harbour.faults = {"PUT /v2/team/app/blobs": [answer]}
    with FaultyRegistry(harbour) as registry, _client() as client:
        _push(registry, client)
    assert _is_complete(harbour)
    assert harbour.sessions == 3


def test_lost_answer_is_no_failure() -> None:
    harbour = Harbour()
    dropped: list[str] = []

    def forgetful(asked: Asked) -> Answer:
        answer = harbour(asked)
        if asked.method == "PUT" and "/uploads/" in asked.path and not dropped:
            dropped.append(asked.path)
            return Answer(None)
        return answer

    with FaultyRegistry(forgetful) as registry, _client() as client:
        _push(registry, client)
    assert _is_complete(harbour)
    assert harbour.sessions == 2


def test_lasting_faults_end_it_within_bounds() -> None:
    harbour = Harbour()
    harbour.faults = {"PUT /v2/team/app/blobs": [Answer(503, b"drydock")] * 100}
    with FaultyRegistry(harbour) as registry, _client() as client:
        with BlobUploader(client, Reference.parse(f"{registry.host}/team/app")) as uploader:
            uploader.submit(LAYER, IMAGE.source(LAYER))
            with pytest.raises(RegistryError, match=r"can't upload blob sha256:\w+ to .* 503: drydock"):
                uploader.wait()
    assert sum(line.startswith("PUT") for line in registry.lines) == 4


@pytest.mark.parametrize("status", [413, 403, 507])
def test_refused_upload_is_not_repeated(status: int) -> None:
    harbour = Harbour()
    harbour.faults = {"PUT /v2/team/app/blobs": [Answer(status)] * 10}
    with FaultyRegistry(harbour) as registry, _client() as client:
        with pytest.raises(RegistryError, match=f"answered {status}"):
            _push(registry, client)
    assert sum(line.startswith("PUT") for line in registry.lines) <= 2
    assert not harbour.tags


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 405, 500])
def test_mount_that_is_refused_is_an_upload(status: int) -> None:
    harbour = Harbour()
    harbour.faults = {"POST /v2/team/app/blobs/uploads/?mount": [Answer(status)] * 10}
    with FaultyRegistry(harbour) as registry, _client() as client:
        base = Reference.parse(f"{registry.host}/team/base:1")
        _push(registry, client, mount_from={LAYER.digest: base})
    assert _is_complete(harbour)


def test_mount_that_becomes_a_session_is_used() -> None:
    harbour = Harbour()
    with FaultyRegistry(harbour) as registry, _client() as client:
        base = Reference.parse(f"{registry.host}/team/base:1")
        _push(registry, client, mount_from={LAYER.digest: base})
    assert f"POST /v2/team/app/blobs/uploads/?mount={LAYER.digest}&from=team/base" in registry.lines
    assert _is_complete(harbour)
    assert harbour.sessions == 2


def test_other_registries_are_not_mounted_from() -> None:
    harbour = Harbour()
    with FaultyRegistry(harbour) as registry, _client() as client:
        _push(registry, client, mount_from={LAYER.digest: Reference.parse("debian:12")})
    assert not any("mount=" in line for line in registry.lines)


def test_blob_that_vanished_is_uploaded_again() -> None:
    harbour = Harbour()
    harbour.blobs = {str(digest): data for digest, data in IMAGE.blobs.items()}
    unknown = Answer(400, b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}')
    harbour.faults = {"PUT /v2/team/app/manifests": [unknown] * 2}
    with FaultyRegistry(harbour) as registry, _client() as client:
        _push(registry, client)
    assert _is_complete(harbour)
    assert harbour.sessions == 2


def test_only_what_vanished_is_uploaded_again() -> None:
    harbour = Harbour()
    harbour.blobs = {str(digest): data for digest, data in IMAGE.blobs.items()}

    def collecting(asked: Asked) -> Answer:
        """Its garbage collection takes the layer before the manifest comes."""
        if asked.method == "PUT" and "/manifests/" in asked.path and not harbour.sessions:
            del harbour.blobs[str(LAYER.digest)]
            return Answer(400, b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}')
        return harbour(asked)

    with FaultyRegistry(collecting) as registry, _client() as client:
        _push(registry, client)
    assert _is_complete(harbour)
    assert harbour.sessions == 1


def test_blob_that_vanishes_twice_ends_it() -> None:
    unknown = Answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')
    harbour = Harbour()
    harbour.faults = {"PUT /v2/team/app/manifests": [unknown] * 5}
    with FaultyRegistry(harbour) as registry, _client() as client:
        with pytest.raises(RegistryError, match="BLOB_UNKNOWN"):
            _push(registry, client)


@pytest.mark.parametrize("status", [400, 403, 409, 412])
def test_tag_that_cannot_move_but_is_right_already(status: int) -> None:
    harbour = Harbour()
    harbour.tags["1"] = IMAGE.manifest.to_bytes()
    harbour.faults = {"PUT /v2/team/app/manifests": [Answer(status, b"immutable")] * 2}
    with FaultyRegistry(harbour) as registry, _client() as client:
        _push(registry, client)
        harbour.tags["1"] = b"another image"
        with pytest.raises(RegistryError, match="immutable"):
            _push(registry, client)


def test_digest_of_the_answer_is_checked() -> None:
    harbour = Harbour()
    lie = Answer(201, headers={"Docker-Content-Digest": str(Digest.of(b"other"))})
    harbour.faults = {"PUT /v2/team/app/manifests": [lie]}
    with FaultyRegistry(harbour) as registry, _client() as client:
        with pytest.raises(RegistryError, match="instead of"):
            _push(registry, client)


def test_source_that_is_too_short_is_found() -> None:
    harbour = Harbour()
    short = SmallImage(IMAGE.manifest, IMAGE.config_bytes, {**IMAGE.blobs, LAYER.digest: b"only"})
    with FaultyRegistry(harbour) as registry, _client() as client:
        reference = Reference.parse(f"{registry.host}/team/app:1")
        with pytest.raises(CorruptError, match="ends 6 bytes before its size"):
            push_image(client, reference, short)
    assert not harbour.tags


def test_uploads_go_on_in_the_background() -> None:
    harbour = Harbour()
    with FaultyRegistry(harbour) as registry, _client() as client:
        reference = Reference.parse(f"{registry.host}/team/app:1")
        with BlobUploader(client, reference) as uploader:
            for descriptor in (LAYER, LAYER, IMAGE.manifest.config):
                uploader.submit(descriptor, IMAGE.source(descriptor))
            uploader.wait()
        assert harbour.sessions == 2
        put_manifest(client, reference, IMAGE.manifest.to_bytes(), IMAGE.manifest.media_type)
    assert _is_complete(harbour)


def test_trial_leaves_nothing() -> None:
    harbour = Harbour()
    with FaultyRegistry(harbour) as registry, _client() as client:
        check_push(client, Reference.parse(f"{registry.host}/team/app:1"))
    assert [line.partition("?")[0] for line in registry.lines] == [
        "POST /v2/team/app/blobs/uploads/",
        "DELETE /v2/team/app/blobs/uploads/1",
    ]


@pytest.mark.parametrize(
    ("answer", "kind", "hint"),
    [
        (Answer(403, b'{"errors":[{"code":"DENIED"}]}'), AuthError, "no credentials for"),
        (Answer(404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}'), RegistryError, "created first"),
        (Answer(405), RegistryError, "read-only"),
    ],
)
def test_trial_says_what_is_missing(answer: Answer, kind: type[RegistryError], hint: str) -> None:
    with FaultyRegistry(lambda asked: answer) as registry, _client() as client:
        with pytest.raises(kind, match="can't push to") as caught:
            check_push(client, Reference.parse(f"{registry.host}/team/app:1"))
    assert hint in str(caught.value)
