"""Isolation by namespaces of the kernel."""
