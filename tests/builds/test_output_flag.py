"""`--output`, push by digest, annotations and what surrounds RUN: whole builds.

The expected listing of the file system is what BuildKit's tar exporter of August 2026 gives for the same
Dockerfile; the other expectations follow buildx's reference of the attributes.
"""

import json
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from support.builds import MANIFEST_TYPE, Builds, check_explained
from support.knarr_cli import EXECUTOR
from support.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.registry]

_FILES = """\
FROM busybox
RUN mkdir -p /d/e && echo hi > /d/f && ln /d/f /d/g && ln -s f /d/s && mkfifo /d/p && chown 5:6 /d/f \\
 && chmod 4755 /d/f && rm /bin/yes
RUN touch -d @1000000 /d/e
"""
_LISTED = {
    "d": ("0o755", 0, 0, b"5", ""),
    "d/e": ("0o755", 0, 0, b"5", ""),
    "d/f": ("0o4755", 5, 6, b"0", ""),
    "d/g": ("0o4755", 5, 6, b"1", "d/f"),
    "d/p": ("0o644", 0, 0, b"6", ""),
    "d/s": ("0o777", 0, 0, b"2", "f"),
}


@pytest.fixture
def builds(base_registry: Registry, tmp_path: Path) -> Builds:
    return Builds(base_registry, tmp_path)


def _index_of(archive: Path) -> Any:
    with tarfile.open(archive) as tar:
        file = tar.extractfile("index.json")
        assert file is not None
        return json.load(file)


def test_tar_is_the_file_system_alone(builds: Builds) -> None:
    archive = builds.place / "files.tar"
    builds.build(_FILES, "-o", f"type=tar,dest={archive}")
    with tarfile.open(archive) as tar:
        members = {each.name: each for each in tar}
    listed = {
        name: (oct(each.mode), each.uid, each.gid, each.type, each.linkname)
        for name, each in members.items()
        if name.split("/")[0] == "d"
    }
    assert listed == _LISTED
    assert members["d/e"].mtime == 1000000
    assert "bin/busybox" in members
    assert "bin/yes" not in members
    assert not any(each.uname or each.gname for each in members.values())


def test_local_keeps_what_is_there_and_follows_no_link(builds: Builds) -> None:
    out, outside = builds.place / "out", builds.place / "outside"
    outside.mkdir()
    (out / "d").mkdir(parents=True)
    (out / "d/mine").write_text("mine")
    (out / "mine").write_text("mine")
    (out / "etc").symlink_to(outside)
    builds.build(_FILES, "-o", str(out))
    assert (out / "mine").read_text() == (out / "d/mine").read_text() == "mine"
    assert list(outside.iterdir()) == []
    assert not (out / "etc").is_symlink()
    found = (out / "d/f").stat()
    assert (oct(stat.S_IMODE(found.st_mode)), found.st_uid, found.st_nlink) == ("0o4755", 0, 2)
    assert (out / "d/e").stat().st_mtime == 1000000
    assert (out / "d/s").readlink() == Path("f")
    assert not list(out.glob(".knarr-*"))


def test_a_build_that_fails_leaves_no_directory(builds: Builds) -> None:
    out = builds.place / "out"
    builds.build("FROM busybox\nRUN false\n", "-o", f"type=local,dest={out}", status=1)
    assert not out.exists()


@pytest.mark.parametrize("record", ["-", "type=tar", "type=oci", "type=docker,dest=-", "type=oci,dest=-"])
def test_standard_output_has_the_archive_alone(builds: Builds, record: str) -> None:
    arguments = builds.arguments(builds.context("FROM busybox\n"), "-o", record)
    done = subprocess.run(
        [sys.executable, "-m", "knarr", *arguments],
        env={"PYTHONPATH": str(EXECUTOR), "KNARR_DIR": str(builds.work), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )
    (builds.place / "seen.tar").write_bytes(done.stdout)
    with tarfile.open(builds.place / "seen.tar") as tar:
        names = tar.getnames()
    assert ("manifest.json" in names) is ("docker" in record)
    assert ("bin/busybox" in names) is (record in ("-", "type=tar"))


def test_several_outputs_of_one_type(builds: Builds) -> None:
    paths = [builds.place / "one.tar", builds.place / "two.tar"]
    records = [f'type=docker,dest={path},"name=a:{path.stem},b:1"' for path in paths]
    builds.build("FROM busybox\n", *(word for record in records for word in ("-o", record)))
    for path in paths:
        with tarfile.open(path) as tar:
            file = tar.extractfile("manifest.json")
            assert file is not None
            expected = [f"docker.io/library/a:{path.stem}", "docker.io/library/b:1"]
            assert json.load(file)[0]["RepoTags"] == expected


def test_push_by_digest_sets_no_tag(builds: Builds) -> None:
    name, place = builds.name("outputs/by-digest"), builds.place
    record = f"type=image,push-by-digest=true,name-canonical=true,push=true,name={name}"
    files = ["--image-name-with-digest-file", str(place / "name"), "--metadata-file", str(place / "metadata")]
    digest = builds.build("FROM busybox\nLABEL a=1\n", "-o", record, *files).output.strip()
    plain = builds.build("FROM busybox\nLABEL a=1\n", "--push-by-digest", "-d", name).output.strip()
    assert builds.tags("outputs/by-digest") == []
    for each in (digest, plain):
        assert builds.registry.get(f"outputs/by-digest/manifests/{each}", {"Accept": MANIFEST_TYPE})
    assert (place / "name").read_text() == f"{name}@{digest}\n"
    assert json.loads((place / "metadata").read_text())["image.name"] == name
    index = ["index", f"{name}@{digest}", "-d", f"{name}:joined", "--insecure-registry", builds.registry.host]
    levels = ["--annotation", "index:a=b", "--annotation", "manifest,index:c=d"]
    builds.run([*index, *levels, "--annotation", "manifest-descriptor[linux/amd64]:e=f"])
    joined = json.loads(
        builds.registry.get(
            "outputs/by-digest/manifests/joined", {"Accept": "application/vnd.oci.image.index.v1+json"}
        )
    )
    assert joined["annotations"] == {"a": "b", "c": "d"}
    assert [(each["digest"], each["annotations"]) for each in joined["manifests"]] == [(digest, {"e": "f"})]


def test_a_tag_is_not_pushed_by_digest(builds: Builds) -> None:
    record = f"type=registry,push-by-digest=true,name={builds.name('outputs/tagged:1')}"
    check_explained(builds.build("FROM busybox\n", "-o", record, status=2), "outputs/tagged:1", "tag")


def test_an_image_without_push_goes_nowhere(builds: Builds) -> None:
    name = builds.name("outputs/unpushed:1")
    builds.build("FROM busybox\n", "-d", name, "-o", "type=image")
    builds.build("FROM busybox\n", "-d", name, "-o", "type=registry,push=false")
    builds.build("FROM busybox\n", "-o", f"type=registry,name={name}", "--no-push")
    assert builds.tags("outputs/unpushed") == []


def test_attributes_make_the_form(builds: Builds) -> None:
    archive = builds.place / "image.tar"
    record = (
        f"type=oci,dest={archive},compression=zstd,compression-level=5,force-compression=true,"
        "annotation.a=1,annotation-manifest-descriptor.b=2,annotation-manifest[linux/s390x].c=3"
    )
    builds.build("FROM busybox\nCOPY Dockerfile /\n", "-o", record)
    (entry,) = _index_of(archive)["manifests"]
    assert entry["annotations"]["b"] == "2"
    with tarfile.open(archive) as tar:
        file = tar.extractfile(f"blobs/sha256/{entry['digest'].removeprefix('sha256:')}")
        assert file is not None
        manifest = json.load(file)
    assert manifest["annotations"] == {"a": "1"}
    types = {layer["mediaType"] for layer in manifest["layers"]}
    assert types == {"application/vnd.oci.image.layer.v1.tar+zstd"}


def test_docker_media_types(builds: Builds) -> None:
    layout = builds.place / "layout"
    builds.build("FROM busybox\n", "-o", f"type=oci,tar=false,dest={layout},oci-mediatypes=false")
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert entry["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


def test_names_and_limits_of_run(builds: Builds) -> None:
    out = builds.place / "out"
    builds.build(
        "FROM busybox\nRUN cat /etc/hosts > /hosts; ulimit -n > /limit; df -k /dev/shm | tail -1 > /shm\n",
        *("--add-host", "Db:10.1.2.3", "--add-host", "six=[::7]", "--ulimit", "nofile=77:99"),
        *("--shm-size", "3m", "-o", str(out)),
    )
    assert (out / "hosts").read_text().startswith("10.1.2.3\tdb\n::7\tsix\n")
    assert (out / "limit").read_text() == "77\n"
    assert (out / "shm").read_text().split()[1] == "3072"


def test_network_is_that_of_steps_which_name_none(builds: Builds) -> None:
    out = builds.place / "out"
    dockerfile = "FROM busybox\nRUN ip -o link | wc -l > /a\nRUN --network=host ip -o link | wc -l > /b\n"
    builds.build(dockerfile, "--network", "none", "-o", str(out))
    assert (out / "a").read_text() == "1\n"
    assert int((out / "b").read_text()) > 1


def test_stages_without_the_cache_and_a_cache_to_read_from(builds: Builds) -> None:
    old, new = builds.place / "old", builds.place / "new"
    dockerfile = "FROM busybox AS one\nRUN echo 1 > /1\nFROM busybox AS Two\nRUN echo 2 > /2\n"
    last = f"{dockerfile}COPY --from=one /1 /\n"
    cache = ["--no-push", "--cache"]
    builds.build(last, *cache, f"--cache-repo=oci:{old}")
    again = builds.build(last, *cache, f"--cache-repo=oci:{old}", "--no-cache-filter", "TWO").log
    assert again.count("No cached layer") + again.count("not looked up") >= 1
    builds.build(last, *cache, f"--cache-repo=oci:{new}", f"--cache-from=oci:{old}")
    assert {path.name for path in new.iterdir()} == {path.name for path in old.iterdir()}
