"""Dockerfile text to values; no IO."""
