"""A root file system on disk or as an index of layers."""
