"""The executor in a container that Docker or podman starts: its mounts, its variables, its credentials."""
