"""`--output`, `--annotation` and the flags of RUN as text; the words are buildx's."""

import pytest

from knarr.cli.flags.run import RunFlags
from knarr.cli.values.output.annotations import INDEX, MANIFEST, Annotation, for_image, for_index
from knarr.cli.values.output.output_records import parse_output
from knarr.cli.values.run_settings import read_run_settings
from knarr.errors import UsageError
from knarr.oci.platform import Platform

_AMD64 = Platform.parse("linux/amd64")


@pytest.mark.parametrize(
    ("text", "kind", "dest"),
    [
        ("out", "local", "out"),
        ("a b/c", "local", "a b/c"),
        ("dest=x", "local", "dest=x"),
        ("-", "tar", "-"),
        ("type=tar", "tar", "-"),
        ("type=oci", "oci", "-"),
        ("TYPE=oci,Dest=x", "oci", "x"),
        ('type=docker,"dest=a,b"', "docker", "a,b"),
        ("type=registry", "registry", ""),
        ("type=cacheonly", "cacheonly", ""),
    ],
)
def test_records(text: str, kind: str, dest: str) -> None:
    record = parse_output(text)
    assert (record.type, record.dest) == (kind, dest)


def test_names_stand_between_commas_in_quotes() -> None:
    record = parse_output('type=image,"name=a:1,b:2",push=true')
    assert record.names == ("a:1", "b:2")
    assert record.is_pushed


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("type=nosuch", "nosuch"),
        ("dest=x,tar=true", "type"),
        ("type=local", "dest"),
        ("type=local,dest=-", "dest"),
        ("type=docker", "dest"),
        ("type=docker,dest=x,tar=false", "tar=false"),
        ("type=local,dest=x,name=a", "name"),
        ("type=local,dest=x,mode=delete", "mode=delete"),
        ("type=tar,dest=x,platform-split=true", "platform-split"),
        ("type=image,dest=x", "dest"),
        ("type=image,push=maybe", "push=maybe"),
        ("type=image,store=true", "store"),
        ("type=image,unpack=true", "unpack"),
        ("type=registry,registry.insecure=true", "registry.insecure"),
        ("type=registry,nosuch=1", "nosuch"),
        ("type=registry,push", "push"),
        ("type=registry,annotation-nosuch.a=1", "nosuch"),
        ('type=registry,"name=a', "commas"),
    ],
)
def test_what_is_refused_is_named(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word) as refused:
        parse_output(text)
    assert refused.value.hint


def test_levels_of_annotations() -> None:
    texts = ["a=1", "manifest,index:b=x:y=z", "manifest[linux/amd64]:c=3", "manifest[linux/arm64]:d=4"]
    texts.append("manifest-descriptor:e:f=5")
    found = for_image((Annotation.parse(text, default=MANIFEST) for text in texts), _AMD64)
    assert found.manifest == {"a": "1", "b": "x:y=z", "c": "3"}
    assert found.descriptor == {"e:f": "5"}
    assert len(found.notes) == 2


@pytest.mark.parametrize(
    "text", ["index:a=1", "index-descriptor:a=1", "nosuch:a=1", "a", "=1", "manifest:=1"]
)
def test_annotations_that_no_image_has(text: str) -> None:
    with pytest.raises(UsageError):
        for_image([Annotation.parse(text, default=MANIFEST)], _AMD64)


def test_levels_of_an_index() -> None:
    texts = ["a=1", "manifest,index:b=2", "manifest-descriptor[linux/amd64]:c=3"]
    found = for_index(Annotation.parse(text, default=INDEX) for text in texts)
    assert found.index == {"a": "1", "b": "2"}
    assert found.entries == ((_AMD64, "c", "3"),)
    with pytest.raises(UsageError, match="manifest:a"):
        for_index([Annotation.parse("manifest:a=1", default=INDEX)])


def test_settings_of_run() -> None:
    settings = read_run_settings(
        RunFlags(
            "none", ("DB:10.0.0.1", "six:[::1]", "seven=::2"), "1.5m", ("nofile=5", "core=-1", "cpu=1:2")
        )
    )
    assert settings.hosts == (("db", "10.0.0.1"), ("six", "::1"), ("seven", "::2"))
    assert settings.shm_bytes == 3 * 512 * 1024
    assert settings.ulimits == (("nofile", 5, 5), ("core", -1, -1), ("cpu", 1, 2))


@pytest.mark.parametrize(
    "flags",
    [
        RunFlags(network="bridge"),
        RunFlags(add_host=("db:host-gateway",)),
        RunFlags(add_host=("db",)),
        RunFlags(add_host=("d b:1.2.3.4",)),
        RunFlags(shm_size="much"),
        RunFlags(shm_size="0"),
        RunFlags(ulimit=("nosuch=1",)),
        RunFlags(ulimit=("nofile=2:1",)),
        RunFlags(ulimit=("nofile=",)),
    ],
)
def test_settings_that_are_refused(flags: RunFlags) -> None:
    with pytest.raises(UsageError):
        read_run_settings(flags)
