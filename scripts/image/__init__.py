"""Puts the images together: downloads, the tree of the executor's own files, the build."""
