"""Times commands, then puts what was measured in a Markdown table."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Measure:
    """What one timed run took."""

    wall_s: float
    peak_rss_bytes: int
    """The largest resident set of any one process of the run, not their sum (wait4, ru_maxrss)."""

    def __add__(self, other: "Measure") -> "Measure":
        """Two runs, one after the other."""
        return Measure(self.wall_s + other.wall_s, max(self.peak_rss_bytes, other.peak_rss_bytes))


@dataclass(frozen=True, slots=True)
class Row:
    """The rounds of one contender."""

    name: str
    rounds: Sequence[Measure]

    @property
    def median_s(self) -> float:
        """Median of the wall times."""
        return statistics.median(measure.wall_s for measure in self.rounds)

    @property
    def peak_rss_bytes(self) -> int:
        """The worst of the rounds."""
        return max(measure.peak_rss_bytes for measure in self.rounds)


def time_command(command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> Measure:
    """Run a command to its end; its output is appended to the log.

    Raises CalledProcessError where it fails, after showing the log's end on stderr.
    """
    environment = os.environ | dict(env or {})
    with log.open("ab") as output:
        start = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.stderr.write(log.read_text(errors="replace")[-4000:])
        raise subprocess.CalledProcessError(process.returncode, command)
    return Measure(wall_s, usage.ru_maxrss * 1024)


def render_table(rows: Sequence[Row], compared: Sequence[tuple[str, str]]) -> str:
    """The rows as a Markdown table, then the ratio of the medians of each pair of names."""
    cells = [["", "median", "rounds", "peak RSS"]]
    for row in rows:
        times = " ".join(f"{measure.wall_s:.2f}" for measure in row.rounds)
        cells.append([row.name, f"{row.median_s:.2f} s", times, f"{row.peak_rss_bytes / 1e6:.0f} MB"])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [_table_line(line, widths) for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    medians = {row.name: row.median_s for row in rows}
    ratios = [f"{name} / {other}: {medians[name] / medians[other]:.2f}" for name, other in compared]
    return "\n".join([*lines, "", *ratios])


def _table_line(line: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
