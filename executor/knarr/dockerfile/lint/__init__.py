"""BuildKit's build checks."""
