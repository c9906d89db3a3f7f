"""Flags of kaniko that are seen in GitLab jobs and in wrappers for GitHub: both wrappers hand them over."""

from pathlib import Path

import pytest
from knarr_action.flags import build_call
from knarr_action.inputs import Inputs

from support.flag_values import build_flags
from support.recorded_job import PLAIN, recorded

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
""".split()


def test_the_actions_hand_them_over() -> None:
    arguments = build_call(Inputs({"extra-args": "\n".join(FLAGS)}), {}, print).arguments
    assert list(arguments[-len(FLAGS) :]) == FLAGS


def test_the_template_hands_them_over(tmp_path: Path) -> None:
    arguments, _ = recorded(tmp_path, "knarr-build", {**PLAIN, "extra-args": "\n".join(FLAGS)})
    assert arguments[-len(FLAGS) :] == FLAGS


@pytest.mark.parametrize("flag", FLAGS)
def test_the_executor_knows_it(flag: str) -> None:
    build_flags([flag])
