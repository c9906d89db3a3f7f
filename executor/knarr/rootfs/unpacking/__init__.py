"""Layers unpacked into a directory."""
