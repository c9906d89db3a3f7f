"""The log lines of a build."""
