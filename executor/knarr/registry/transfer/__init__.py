"""Manifests, blobs and other files on their way to and from hosts."""
