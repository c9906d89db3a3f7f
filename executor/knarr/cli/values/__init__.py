"""Flags and environment to the values that a command works with."""
