"""A step's output on its way to a descriptor, as it is; the last of it is remembered."""

import os
import select
from collections.abc import Callable

_CHUNK_BYTES = 64 * 1024
_TAIL_BYTES = 16 * 1024
_LINGER_S = 1.0
"""How long a pipe is silent before it is asked whether the process has ended."""


class Relay:
    """What a process writes to a pipe goes to `target`, unaltered and in order; for one process."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._tail = bytearray()
        self._read, self.write_end = os.pipe()

    def started(self) -> None:
        """The process has the pipe: this one writes nothing to it."""
        self._close_write_end()

    def carry(self, report: int, has_ended: Callable[[], bool]) -> bytes:
        """Pass output on until all have closed the pipe; the result is what came on `report` meanwhile.

        Once the process `has_ended`, what still holds the pipe is not waited for.
        """
        said = bytearray()
        poll = select.poll()
        waiting = {report, self._read}
        for descriptor in waiting:
            poll.register(descriptor, select.POLLIN)
        while waiting:
            ready = poll.poll(_LINGER_S * 1000)
            if not ready and has_ended():
                break
            for descriptor, _ in ready:
                data = os.read(descriptor, _CHUNK_BYTES)
                if not data or (descriptor == self._read and not self._pass_on(data)):
                    poll.unregister(descriptor)
                    waiting.discard(descriptor)
                elif descriptor == report:
                    said += data
            if self._read >= 0 and self._read not in waiting:
                self._close_read_end()  # so that who writes on is told
        return bytes(said)

    def last_lines(self, count: int) -> str:
        """The last lines of what was passed on."""
        text = bytes(self._tail).decode("utf-8", "replace").replace("\r\n", "\n")
        lines = [line.rpartition("\r")[2] for line in text.rstrip().split("\n")]
        return "\n".join(lines[-count:])

    def close(self) -> None:
        """Close the pipe; may be called again."""
        self._close_write_end()
        self._close_read_end()

    def _close_read_end(self) -> None:
        if self._read >= 0:
            os.close(self._read)
            self._read = -1

    def _close_write_end(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def _pass_on(self, data: bytes) -> bool:
        """Whether the target still takes it; where it does not, the process finds its pipe closed."""
        self._tail += data
        del self._tail[:-_TAIL_BYTES]
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._target, left) :]
        except BrokenPipeError:
            return False
        return True
