"""Where a finished image goes, besides registries."""
