"""Which stages a target needs."""
