"""Who we are to a registry: credentials, where they come from, what answers a challenge."""
