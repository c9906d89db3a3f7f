"""Patterns of `.dockerignore`."""
