"""Live progress: lines at the end of a terminal, drawn over and over."""

import threading

from knarr.cli.flags.logging import LogFlags
from knarr.progress import Transfer, TransferProgress, TransferStarted
from knarr.report.lines.outlets import TerminalOutlet
from knarr.report.lines.status import status_lines
from knarr.report.recorder import Recorder
from knarr.report.settings import ReportSettings
from support.places import DATA
from support.report_events import DOWNLOADING, SUCCEEDING, Story
from support.report_replay import Clock, Screen

GOLDEN = DATA / "report"


def status(story: Story, width: int) -> str:
    clock = Clock()
    recorder = Recorder(clock)
    for wait_s, event in story:
        clock.now_s += wait_s
        recorder.report(event)
    clock.now_s += 0.5
    return "".join(f"{line}\n" for line in status_lines(recorder.record, recorder.now_s, width))


def several_transfers() -> Story:
    transfers = [
        Transfer("push", "registry.example/a", f"sha256:{n:064}", n * 10_000_000) for n in range(1, 7)
    ]
    events: list[tuple[float, TransferStarted | TransferProgress]] = []
    for transfer in transfers:
        events += [(0.0, TransferStarted(transfer)), (0.5, TransferProgress(transfer, 5_000_000))]
    return [*DOWNLOADING, *events]


def test_golden() -> None:
    shown = [status(story, width) for story in (DOWNLOADING, several_transfers()) for width in (120, 60)]
    assert "\n".join(shown) == (GOLDEN / "status.txt").read_text()


def test_no_line_is_as_wide_as_the_terminal() -> None:
    for width in (20, 40, 80):
        assert all(len(line) < width for line in status(several_transfers(), width).splitlines())


def test_nothing_to_show_at_the_end() -> None:
    assert status(SUCCEEDING, 100) == ""


def test_lines_are_erased_before_others_are_written() -> None:
    screen = Screen()
    lines = ["first", "second"]
    outlet = TerminalOutlet(screen, threading.RLock(), lambda _: lines, lambda: 80)
    outlet.draw()
    outlet.write("a message\n")
    outlet.draw()
    outlet.lend()
    outlet.draw()
    screen.write("process")
    outlet.take_back()
    outlet.close()
    outlet.draw()
    drawn = "\x1b[?7lfirst\nsecond\n\x1b[?7h"
    erased = "\x1b[2A\r\x1b[J"
    blanks = " " * 79
    assert screen.getvalue() == f"{drawn}{erased}a message\n{drawn}{erased}process{blanks}\r\x1b[K"


def test_when_progress_is_live() -> None:
    def is_live(flags: LogFlags, **environment: str) -> bool:
        return ReportSettings.of(flags, environment, Screen()).is_live

    assert is_live(LogFlags())
    assert not is_live(LogFlags(), CI="true")
    assert is_live(LogFlags(progress="tty"), CI="true")
    assert not is_live(LogFlags(progress="plain"))
    assert not is_live(LogFlags(), TERM="dumb")
    assert not is_live(LogFlags(log_format="json"))
    assert not is_live(LogFlags(verbosity="warn"))
