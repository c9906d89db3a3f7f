"""The workers of pytest-xdist, which run tests side by side on one machine."""

import os


def worker_number() -> int:
    """The number of this process among the workers; 0 where there are none."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
