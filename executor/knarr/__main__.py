"""`python -m knarr` is `knarr`."""

from knarr.cli.main import main

if __name__ == "__main__":
    main()
