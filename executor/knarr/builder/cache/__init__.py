"""The layer cache: keys, entries, where they are kept."""
