"""All whole-build cases: those compared with Docker's builder, those with written expectations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.cases import Case, read_cases
from support.expectation import Expectation

_BUILDS = Path(__file__).parents[1] / "builds"


@dataclass(frozen=True, slots=True)
class Written:
    """A case; `expected` is None where another builder says what must come out."""

    case: Case
    expected: Expectation | None = None

    @property
    def fails(self) -> bool:
        """Whether the build must be refused."""
        return self.case.fails or bool(self.expected and self.expected.error)

    @property
    def environment(self) -> Mapping[str, str]:
        """The builder's environment beside its usual one."""
        return self.expected.environment if self.expected else {}

    def arguments(self, context: str) -> list[str]:
        """The command line's part that belongs to the case, its context there being `context`."""
        return [
            f"--context={context}",
            *([f"--dockerfile={context}/{self.case.dockerfile}"] if not self.has_usual_name else []),
            *([f"--target={self.case.target}"] if self.case.target else []),
            *(f"--build-arg={name}={value}" for name, value in self.case.build_args.items()),
            *(f"--label={name}={value}" for name, value in self.case.labels.items()),
            *(self.expected.arguments if self.expected else ()),
        ]

    @property
    def has_usual_name(self) -> bool:
        """Whether the Dockerfile is found without its name."""
        return self.case.dockerfile == "Dockerfile"


def compared_cases() -> list[Written]:
    """The cases that are compared with what Docker makes of them."""
    return [Written(case) for case in read_cases(_BUILDS / "cases")]


def expected_cases() -> list[Written]:
    """The cases with expectations."""
    return [
        Written(case, Expectation.read(case.directory / "expected.json"))
        for case in read_cases(_BUILDS / "expected")
    ]
