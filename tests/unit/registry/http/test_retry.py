import pytest

from knarr.registry.http.retry import Backoff, HostGate, RetryPolicy, parse_retry_after

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("-1", None),
        ("1.5", None),
        ("880µs", None),
        ("soon", None),
        ("9" * 30, None),
        ("1000000000", 1e9),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:12:00 GMT", 0.0),
        ("Tue, 99 Nov 2023 22:12:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now_s=NOW) == seconds


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(RetryPolicy(tries=8))
    waits = [backoff.next_wait() for _ in range(8)]
    assert waits[-1] is None
    for wait, expected in zip(waits, (0.5, 1, 2, 4, 8, 8, 8), strict=False):
        assert wait is not None
        assert expected * 0.9 <= wait <= expected * 1.1


def test_what_the_server_asks_is_the_least() -> None:
    assert Backoff(RetryPolicy()).next_wait(30.0) == 30.0


def test_no_wait_beyond_the_budget() -> None:
    assert Backoff(RetryPolicy(budget_s=60)).next_wait(1e9) is None


def test_fewer_tries_for_what_rarely_heals() -> None:
    backoff = Backoff(RetryPolicy(tries=5))
    waits = [backoff.next_wait(at_most_tries=3) for _ in range(3)]
    assert [wait is None for wait in waits] == [False, False, True]


def test_gate_holds_everybody_back() -> None:
    slept: list[float] = []
    gate = HostGate(lambda: 100.0, slept.append)
    gate.wait("a.io")
    gate.close("a.io", 7)
    gate.close("a.io", 3)
    gate.wait("a.io")
    gate.wait("b.io")
    assert slept == [7.0]
