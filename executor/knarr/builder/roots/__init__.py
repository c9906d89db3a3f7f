"""Root file systems of stages, a folder for each isolation mode."""
