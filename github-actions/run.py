"""Runs an action: `run.py build` or `run.py index`, inputs in the environment."""

import sys

from knarr_action.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
