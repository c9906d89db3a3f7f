"""Where images and caches go, by the actions with Docker: workflows run by act."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from support.ci_tools import run_act
from support.docker_engine import Engine
from support.github_workflow import IMAGE, INDEX, MANIFEST, top_layer, use, write_workflow
from support.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.runner]


@pytest.mark.docker
@pytest.mark.root
def test_places_of_the_runner_are_the_images_own_with_docker(
    project: Path, actions: Path, engine: Engine, base_registry: Registry, tmp_path: Path
) -> None:
    """Steps write where the runner has outputs, contexts, caches: all of it gets into the image alone."""
    places = [tmp_path / name for name in ("out", "context", "cache", "named")]
    for place in places[1:]:
        place.mkdir()
    shutil.move(project / "file", tmp_path / "context/file")
    (tmp_path / "named/of-the-runner").touch()
    writes = " && ".join(f"mkdir -p {place} && echo a >{place}/of-the-image" for place in places)
    (project / "Dockerfile").write_text(
        f"FROM busybox\nCOPY file /\nCOPY --from=named . /\nRUN {writes}\n"
        "RUN grep '^10.1.2.3.*one.test' /etc/hosts && df -k /dev/shm | grep ' 131072 ' && touch /found\n"
    )
    given = {
        "runner": "docker",
        "executor-image": IMAGE,
        "push": "true",
        "tags": "${{ vars.BASES }}/github/places:1",
        "context": str(places[1]),
        "file": "Dockerfile",
        "build-contexts": f"named={places[3]}",
        "cache-repo": f"oci:{places[2]}",
        "add-hosts": "one.test:10.1.2.3,two.test=10.1.2.4",
        "shm-size": "128m",
        "outputs": f"type=docker,dest={places[0]}/image.tar",
        "extra-args": "--registry-map=docker.io=${{ vars.BASES }}\n--insecure\n--insecure-pull\n"
        f"--digest-file={places[0]}/digest",
    }
    write_workflow(project, use("build", given))
    done = run_act(
        project,
        actions=actions,
        variables={"BASES": base_registry.host},
        environment={"DOCKER_HOST": engine.url},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = {f"{place}/of-the-image".removeprefix("/") for place in places}
    assert top_layer(base_registry, "github/places") == ["found"]
    with tarfile.open(places[0] / "image.tar") as archive:
        layers = json.loads((archive.extractfile("manifest.json") or io.BytesIO()).read())[0]["Layers"]
        data = (archive.extractfile(layers[-2]) or io.BytesIO()).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as layer:
        assert written <= set(layer.getnames())
    assert sorted(path.name for path in places[0].iterdir()) == ["digest", "image.tar"]
    assert [path.name for path in places[1].iterdir()] == ["file"]
    assert [path.name for path in places[3].iterdir()] == ["of-the-runner"]
    assert any(len(path.name) == 64 for path in places[2].iterdir())


@pytest.mark.docker
@pytest.mark.root
def test_images_without_tags_and_their_index_with_docker(
    project: Path, actions: Path, engine: Engine, base_registry: Registry
) -> None:
    """docker's pattern for several runners, with annotations of docker/metadata-action for two levels."""
    common = {"runner": "docker", "executor-image": IMAGE, "extra-args": "--insecure"}
    annotations = 'manifest:note=one\n"manifest:lines=a\nb"\nindex:note=one\n"index:lines=a\nb"'
    name = f"{base_registry.host}/github/digests"
    build = {
        **common,
        "tags": name,
        "outputs": "type=image,push-by-digest=true,name-canonical=true,push=true,annotation.own=yes",
        "annotations": annotations,
    }
    index = {
        **common,
        "images": name + "@${{ steps.build.outputs.digest }}",
        "tags": f"{name}:1",
        "annotations": annotations,
    }
    write_workflow(project, use("build", build), use("index", index))
    done = run_act(project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(base_registry.get("github/digests/tags/list"))["tags"] == ["1"]
    made = json.loads(base_registry.get("github/digests/manifests/1", {"Accept": INDEX}))
    wanted = {"note": "one", "lines": "a\nb"}
    assert made["annotations"] == wanted
    digest = made["manifests"][0]["digest"]
    image = json.loads(base_registry.get(f"github/digests/manifests/{digest}", {"Accept": MANIFEST}))
    assert image["annotations"] == {**wanted, "own": "yes"}


@pytest.mark.docker
@pytest.mark.root
def test_outputs_of_all_kinds_with_docker(
    project: Path, actions: Path, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/before").touch()
    outputs = [
        f"type=local,dest={tmp_path}/kept",
        "tree",
        f"type=tar,dest={tmp_path}/files.tar",
        "type=oci,dest=made/oci.tar",
        "type=docker,name=a:1,dest=made/a.tar",
        "type=docker,name=b:1,dest=made/b.tar",
        "type=oci,tar=false,compression=zstd,force-compression=true,dest=made/layout",
    ]
    given = {"runner": "docker", "executor-image": IMAGE, "outputs": "\n".join(outputs[:-1])}
    look = "ls tree made && cat made/*.tar | sha256sum && grep -aoh '\"RepoTags\":[^]]*]' made/?.tar"
    write_workflow(project, use("build", given), {"run": look})
    done = run_act(project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["before", "file"]
    with tarfile.open(tmp_path / "files.tar") as archive:
        assert archive.getnames() == ["file"]
    names = [f'"RepoTags":["docker.io/library/{name}:1"]' for name in "ab"]
    assert [done.stdout.count(name) for name in names] == [1, 1]
    given["outputs"] = outputs[-1]
    write_workflow(
        project, use("build", given), {"run": "grep -ao 'layer.v1.tar+zstd' made/layout/blobs/sha256/*"}
    )
    done = run_act(project, actions=actions, variables={}, environment={"DOCKER_HOST": engine.url})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(":layer.v1.tar+zstd") == 1


@pytest.mark.docker
@pytest.mark.root
def test_an_old_local_cache_and_a_new_one_with_docker(
    project: Path, actions: Path, engine: Engine, base_registry: Registry, tmp_path: Path
) -> None:
    """The pair of directories that workflows have for actions/cache: what was used is all in the new one."""
    (project / "Dockerfile").write_text("FROM busybox AS made\nRUN cat /proc/sys/kernel/random/uuid >/made\n")
    old, new, last = (tmp_path / name for name in ("old", "new", "last"))
    given = {
        "runner": "docker",
        "executor-image": IMAGE,
        "extra-args": f"--registry-map=docker.io={base_registry.host}\n--insecure-pull",
    }
    steps = [
        {"cache-from": f"type=local,src={old}", "cache-to": f"type=local,dest={old},mode=max"},
        {"cache-from": f"type=local,src={old}", "cache-to": f"type=local,dest={new},mode=max"},
        {"cache-from": f"type=local,src={new}", "no-cache-filters": "Made"},
        {"cache-from": f"type=local,src={new}", "cache-to": f"type=local,dest={last}"},
    ]
    used = [{**use("build", {**given, **each}), "id": f"s{number}"} for number, each in enumerate(steps)]
    digests = " ".join(f"${{{{ steps.s{number}.outputs.digest }}}}" for number in range(len(steps)))
    environment = {"DOCKER_HOST": engine.url, "SOURCE_DATE_EPOCH": "1"}
    write_workflow(project, *used, {"run": f"echo digests: {digests}"})
    done = run_act(project, actions=actions, variables={}, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "| digests: " in line)
    first, second, third, fourth = line.partition("digests: ")[2].split()
    assert first == second == fourth != third
    keys = [{path.name for path in place.iterdir() if len(path.name) == 64} for place in (old, new, last)]
    assert keys[0]
    assert keys[0] == keys[1] == keys[2]
