"""The layer cache: what a step depends on, where its layer is kept."""
