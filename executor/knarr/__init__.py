"""Knarr builds container images from Dockerfiles without a daemon or privileges."""
