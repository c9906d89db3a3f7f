"""Where lines go: a stream, or a terminal with a few lines at its end that are drawn over and over."""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TextIO

_INTERVAL_S = 0.1
_CLEAR_BELOW = "\x1b[J"
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"


class Outlet(Protocol):
    """Takes text that ends with a newline; the caller lets one thread in at a time."""

    def write(self, text: str) -> None:
        """Write the text at once."""
        ...

    def lend(self) -> None:
        """From now on a process writes to the stream too."""
        ...

    def take_back(self) -> None:
        """The process has ended; its last line may lack a newline."""
        ...

    def close(self) -> None:
        """Leave nothing behind but what was written."""
        ...


class StreamOutlet:
    """A file or pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write the text at once."""
        self._stream.write(text)
        self._stream.flush()

    def lend(self) -> None:
        """From now on a process writes to the stream too."""

    def take_back(self) -> None:
        """The process has ended."""

    def close(self) -> None:
        """Leave nothing behind but what was written."""


class TerminalOutlet:
    """A terminal; the lines at its end are cleared before anything else is written.

    They are drawn by a thread, so that seconds pass on while a build has nothing to tell. It is started by
    `start`, not before: a process that enters a user namespace must have one thread.
    """

    def __init__(
        self,
        stream: TextIO,
        lock: threading.RLock,
        status: Callable[[int], Sequence[str]],
        width: Callable[[], int],
    ) -> None:
        """`status` gives the lines to draw for a width, called with `lock` held."""
        self._stream = stream
        self._lock = lock
        self._status = status
        self._width = width
        self._drawn = 0
        self._is_lent = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to draw; may be called again."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._tick, name="status", daemon=True)
            self._thread.start()

    def write(self, text: str) -> None:
        """Write the text at once."""
        self._stream.write(f"{self._erase()}{text}")
        self._stream.flush()

    def lend(self) -> None:
        """From now on a process writes to the stream too."""
        self._stream.write(self._erase())
        self._stream.flush()
        self._is_lent = True

    def take_back(self) -> None:
        """The process has ended."""
        self._is_lent = False
        # To the start of a line without knowing where the cursor is: blanks that fill a line fit where it
        # was at the start, and overflow into the next line where it was not.
        self._stream.write(f"{' ' * (self._width() - 1)}\r\x1b[K")
        self._stream.flush()

    def close(self) -> None:
        """Leave nothing behind but what was written."""
        self._ended.set()
        self._stream.write(self._erase())
        self._stream.flush()

    def draw(self) -> None:
        """Draw the lines anew, unless the terminal is lent."""
        if self._is_lent or self._ended.is_set():
            return
        lines = self._status(self._width())
        body = "".join(f"{line}\n" for line in lines)
        self._stream.write(f"{self._erase()}{_NO_WRAP}{body}{_WRAP}" if lines else self._erase())
        self._drawn = len(lines)
        self._stream.flush()

    def _erase(self) -> str:
        up, self._drawn = self._drawn, 0
        return f"\x1b[{up}A\r{_CLEAR_BELOW}" if up else ""

    def _tick(self) -> None:
        while not self._ended.wait(_INTERVAL_S):
            with self._lock:
                self.draw()
