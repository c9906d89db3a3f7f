"""The HTML page about a build."""
