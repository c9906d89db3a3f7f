"""When to ask a registry again, how long to wait before."""

import email.utils
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

TRANSIENT_STATUSES = frozenset({408, 429, 499, 500, 502, 503, 504, 522})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits on repeating one request; waits double from the first to the longest."""

    tries: int = 5
    first_wait_s: float = 0.5
    longest_wait_s: float = 8.0
    budget_s: float = 600.0
    """All waits of one request together; a longer Retry-After ends it at once."""
    extra_pushes: int = 0
    """How often the whole push of an image is tried again, whatever the registry said."""
    extra_manifest_reads: int = 0
    """The same of reading an image's manifest and config."""


def parse_retry_after(value: str | None, *, now_s: float) -> float | None:
    """Seconds to wait as the server asks (RFC 9110 section 10.2.3); None where it says nothing sensible.

    `now_s` is the time since the epoch that a date is compared with.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit() and len(text) < 12:
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
        return max(0.0, date.timestamp() - now_s)
    except (ValueError, OverflowError, TypeError):
        return None


class Backoff:
    """The waits of one request."""

    def __init__(self, policy: RetryPolicy, *, tries: int | None = None) -> None:
        self._policy = policy
        self._tries = tries or policy.tries
        self._left = self._tries - 1
        self._next_s = policy.first_wait_s
        self._waited_s = 0.0

    def next_wait(self, asked_s: float | None = None, *, at_most_tries: int | None = None) -> float | None:
        """Seconds to wait before the next try; None where there is to be none.

        `asked_s` is the server's Retry-After. `at_most_tries` lowers the tries for a fault that rarely heals.
        """
        used = self._tries - self._left
        if self._left <= 0 or (at_most_tries is not None and used >= at_most_tries):
            return None
        self._left -= 1
        jitter = random.uniform(0.9, 1.1)
        wait_s = max(self._next_s * jitter, asked_s or 0.0)
        self._next_s = min(self._next_s * 2, self._policy.longest_wait_s)
        self._waited_s += wait_s
        return None if self._waited_s > self._policy.budget_s else wait_s


class HostGate:
    """Holds back every request to a host that asked for quiet."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._closed_until: dict[str, float] = {}

    def close(self, host: str, wait_s: float) -> None:
        """Let nobody through for some seconds."""
        with self._lock:
            until = self._clock() + wait_s
            self._closed_until[host] = max(until, self._closed_until.get(host, 0.0))

    def wait(self, host: str) -> None:
        """Return when the host may be asked."""
        with self._lock:
            left_s = self._closed_until.get(host, 0.0) - self._clock()
        if left_s > 0:
            self._sleep(left_s)
