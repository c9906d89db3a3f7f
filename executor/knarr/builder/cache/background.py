"""Work in the background that nobody must wait for, not even the end of the process."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Background(Generic[_T]):
    """A few threads that the process does not wait for when it ends; a pool's threads would be waited for."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._started = 0
        self._waiting: queue.SimpleQueue[tuple[Future[_T], Callable[[], _T]]] = queue.SimpleQueue()

    def submit(self, function: Callable[[], _T]) -> Future[_T]:
        """Call a function soon; what it raises comes out of the future."""
        future: Future[_T] = Future()
        self._waiting.put((future, function))
        if self._started < self._threads:
            self._started += 1
            threading.Thread(target=self._work, name="cache", daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            future, function = self._waiting.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = function()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
