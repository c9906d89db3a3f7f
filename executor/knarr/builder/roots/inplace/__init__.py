"""Isolation in a container of ours, whose own root the build takes over."""
