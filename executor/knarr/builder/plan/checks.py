"""The build checks of a build: reported before any step is run, and failing it where that is asked for."""

from collections.abc import Mapping

from knarr.dockerfile.ignore.patterns import IgnorePatterns
from knarr.dockerfile.language.parser import Dockerfile
from knarr.dockerfile.lint.checks import by_line, check_file, check_stages
from knarr.dockerfile.lint.options import CheckOptions
from knarr.dockerfile.lint.rules import Finding
from knarr.dockerfile.lint.walk import BaseImage, CheckContext
from knarr.dockerfile.stages.stages import PlannedStage
from knarr.images.image import Image
from knarr.oci.platform import Platform
from knarr.progress import CheckFound, Reporter


class BuildChecks:
    """Checks the file first, so that its warnings come before an error in planning; then the stages."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        global_args: Mapping[str, str],
        build_args: Mapping[str, str],
        platform: Platform,
        ignore: IgnorePatterns,
        reporter: Reporter,
    ) -> None:
        self._dockerfile = dockerfile
        self._options = CheckOptions.of(dockerfile, build_args)
        self._escape = dockerfile.directives.escape
        self._global_args = global_args
        self._build_args = build_args
        self._platform = platform
        self._ignore = ignore
        self._reporter = reporter
        self._found: tuple[Finding, ...] = ()

    def check_file(self) -> None:
        """Report what the file alone shows."""
        self._report(check_file(self._dockerfile, self._options, self._context({})))

    def check_stages(self, plan: tuple[PlannedStage, ...], images: Mapping[int, Image]) -> None:
        """Report what the planned stages show; `images` are the base images, by stage index.

        Raises DockerfileError where something was found, here or in the file, and `error=true` is set.
        """
        bases = {index: _base(image) for index, image in images.items()}
        self._report(check_stages(self._dockerfile, plan, self._options, self._context(bases)))
        self._options.fail(by_line(self._found))

    def _context(self, bases: Mapping[int, BaseImage]) -> CheckContext:
        return CheckContext(
            self._global_args, self._build_args, self._platform, self._escape, self._ignore, bases
        )

    def _report(self, findings: tuple[Finding, ...]) -> None:
        self._found += findings
        for finding in findings:
            line, rule = finding.location.line, finding.rule
            self._reporter.report(CheckFound(rule.name, finding.detail, line, finding.end_line, rule.url))


def _base(image: Image) -> BaseImage:
    config = image.config
    return BaseImage(config.env, config.platform, has_shell=config.shell is not None)
