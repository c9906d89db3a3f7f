"""Instructions: parsed, expanded, described."""
