"""Runs the tests of one tier or of several, one tier after the other.

    python -m scripts.run_tests --results=DIRECTORY TIER... -- PYTEST_ARGUMENTS...

Each tier runs in as many processes as there are processors. Files of the rest stay together, since the
engines that run containers are made for a file or a process. The last line says how many tests passed and
failed in all tiers together; `summary` in the directory has the same line. The exit status is 0 when every
run's was.
"""

import argparse
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_DIST = {"quick": "worksteal", "slow": "worksteal", "rest": "loadfile"}
_NO_TESTS = 5
"""The status of pytest when its arguments pick no test of a tier."""


def main(arguments: Sequence[str]) -> int:
    """Run the tiers; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="run_tests", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("tiers", nargs="+", metavar="TIER", choices=_DIST)
    given, passed_on = _split(arguments)
    options = parser.parse_args(given)
    options.results.mkdir(parents=True, exist_ok=True)
    statuses, counts = [], Counter[str]()
    for tier in options.tiers:
        report = options.results.resolve() / f"{tier}.xml"
        report.unlink(missing_ok=True)
        statuses.append(_run(tier, report, passed_on))
        counts += _counts(report)
    if not any(counts.values()) and set(statuses) == {_NO_TESTS}:
        return _NO_TESTS
    shown = ["passed", "failed", *(["skipped"] if counts["skipped"] else [])]
    summary = ", ".join(f"{counts[each]} {each}" for each in shown)
    (options.results / "summary").write_text(f"{summary}\n")
    print(summary, flush=True)
    return int(not set(statuses) <= {0, _NO_TESTS})


def _split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    if "--" not in arguments:
        return arguments, ()
    place = list(arguments).index("--")
    return arguments[:place], arguments[place + 1 :]


def _run(tier: str, report: Path, arguments: Sequence[str]) -> int:
    side_by_side = [f"--numprocesses={os.cpu_count()}", f"--dist={_DIST[tier]}"]
    options = [f"--tier={tier}", *side_by_side, "--durations=20", f"--junit-xml={report}", *arguments]
    return subprocess.run([sys.executable, "-m", "pytest", *options], check=False).returncode


def _counts(report: Path) -> Counter[str]:
    """How the tests of one run ended; what failed beside a test, as a fixture does, is failed too."""
    if not report.exists():  # pytest did not come to its end
        return Counter(failed=1)
    counts = Counter[str]()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        passed = int(suite.get("tests", 0)) - failed - skipped
        counts += Counter(passed=passed, failed=failed, skipped=skipped)
    return counts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
