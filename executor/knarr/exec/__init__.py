"""One process inside a root file system."""
