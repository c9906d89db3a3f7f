"""Flags of kaniko: every wrapper hands them over, to an executor that knows them."""

from pathlib import Path

import pytest
from knarr_action.flags import build_call
from knarr_action.inputs import Inputs

from knarr.cli.flags.refused import REFUSED
from support.flag_values import build_flags
from support.kaniko_flags import read_table
from support.recorded_job import PLAIN, recorded
from support.taskrun import given_params, load_task
from support.tekton_files import TASKS
from support.tekton_variables import replaced

FLAGS = """
--verbosity=debug
-v=debug
--log-format=json
--log-timestamp
--dockerfile=other
-f=other
--context=dir://other
-c=other
--destination=r.example/b:1
-d=r.example/b:1
--no-push
--build-arg=A=b
--target=stage
--label=a=b
--custom-platform=linux/arm64
--snapshot-mode=redo
--use-new-run
--single-snapshot
--reproducible
--compressed-caching=false
--cache=true
--cache-repo=r.example/cache
--cache-ttl=6h
--cache-copy-layers
--secret=id=a,env=B
--ignore-path=/a
--ignore-var-run=false
--cleanup
--pre-cleanup
--preserve-context
--tar-path=image.tar
--digest-file=digest
--image-name-with-digest-file=names
--image-name-tag-with-digest-file=names
--insecure
--skip-tls-verify
--insecure-pull
--skip-tls-verify-pull
--insecure-registry=r.example
--skip-tls-verify-registry=r.example
--registry-certificate=r.example=ca.pem
--registry-mirror=mirror.example
--registry-map=index.docker.io=mirror.example
--push-retry=3
--image-download-retry=3
--credential-helpers=gitlab
--skip-push-permission-check
--force
--context-sub-path=a
--no-push-cache
--annotation=a=b
--compression=zstd
--compression-level=3
--image-format=docker
--cache-dir=/cache
--cache-run-layers=false
--whitelist-var-run=false
--kaniko-dir=/other
--image-fs-extract-retry=3
--oci-layout-path=layout
--dryrun
--registry-client-cert=r.example=a.pem,b.pem
--skip-default-registry-fallback
--push-ignore-immutable-tag-errors
--snapshotMode=redo
--customPlatform=linux/arm64
--tarPath=image.tar
--force-build-metadata
--skip-unused-stages
""".split()


def test_the_actions_hand_them_over() -> None:
    arguments = build_call(Inputs({"extra-args": "\n".join(FLAGS)}), {}, print).arguments
    assert list(arguments[-len(FLAGS) :]) == FLAGS


def test_the_template_hands_them_over(tmp_path: Path) -> None:
    arguments, _ = recorded(tmp_path, "knarr-build", {**PLAIN, "extra-args": "\n".join(FLAGS)})
    assert arguments[-len(FLAGS) :] == FLAGS


def test_the_task_hands_them_over() -> None:
    task = load_task(TASKS / "knarr-build/0.1/knarr-build.yaml")
    (step,) = task["steps"]
    variables = given_params(task, {"IMAGE": "r.example/a:1", "EXTRA_ARGS": FLAGS})
    spliced = replaced(step["args"][-1:], variables)
    assert spliced == FLAGS


def test_none_is_left_out() -> None:
    """But for those that the executor refuses, whatever hands them over."""
    known, _ = read_table()
    given = {flag.partition("=")[0].removeprefix("--") for flag in FLAGS if flag.startswith("--")}
    assert set(known) - set(REFUSED) == given


@pytest.mark.parametrize("flag", FLAGS)
def test_the_executor_knows_it(flag: str) -> None:
    build_flags([flag])
