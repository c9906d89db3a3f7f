"""Flags with environment to the files that tell of a build's result."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from knarr.builder.request import results
from knarr.builder.request.output_files import OutputFile
from knarr.cli.flags.results import ResultFlags
from knarr.cli.values.grammar import parse_pair
from knarr.errors import UsageError


def read_output_files(
    flags: ResultFlags, environment: Mapping[str, str], directory: Path
) -> Iterator[OutputFile]:
    """What the pipeline around is told, paths from `directory`. Raises UsageError."""
    plain = (
        ("--digest-file", flags.digest_file, results.digest_text),
        ("--image-name-with-digest-file", flags.image_name_with_digest_file, results.names_with_digest),
        (
            "--image-name-tag-with-digest-file",
            flags.image_name_tag_with_digest_file,
            results.tagged_names_with_digest,
        ),
        ("--metadata-file", flags.metadata_file, results.metadata),
        ("--dotenv-file", flags.dotenv_file, results.dotenv),
    )
    for flag, place, text in plain:
        if place:
            yield OutputFile.parse(flag, place, text, directory=directory)
    for pair in flags.result_file:
        yield from _tekton_result(pair, directory)
    if flags.github_output:
        yield _github_output(environment)
        if environment.get("GITHUB_ARTIFACTS"):
            path = Path(environment["GITHUB_ARTIFACTS"]).absolute()
            yield OutputFile("GITHUB_ARTIFACTS", path, results.github_artifacts, append=True)
    if environment.get("BUILDER_OUTPUT"):
        path = directory / environment["BUILDER_OUTPUT"] / "images"
        yield OutputFile("BUILDER_OUTPUT", path, results.cloud_build_images)


def _tekton_result(pair: str, directory: Path) -> Iterator[OutputFile]:
    flag = "--result-file"
    name, place = parse_pair(pair, flag)
    text = results.TEKTON_RESULTS.get(name)
    if text is None:
        raise UsageError(f"{flag} knows {', '.join(results.TEKTON_RESULTS)}, not {name!r}")
    if place:
        yield OutputFile.parse(f"{flag} {name}", place, text, directory=directory)


def _github_output(environment: Mapping[str, str]) -> OutputFile:
    path = environment.get("GITHUB_OUTPUT")
    if not path:
        raise UsageError(
            "--github-output: GITHUB_OUTPUT is not set", hint="a container needs it, and the file, passed on"
        )
    return OutputFile("--github-output", Path(path).absolute(), results.github_output, append=True)
