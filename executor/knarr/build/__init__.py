"""From a build request to an image."""
