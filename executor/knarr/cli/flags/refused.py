"""Flags of kaniko that this version lacks; they are refused by name, never ignored."""

REFUSED = frozenset(("bucket", "cache-dir", "dryrun", "git", "materialize"))
