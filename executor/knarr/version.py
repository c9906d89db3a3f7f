"""The one version of package, images and wrappers."""

__version__ = "0.1.0"
