"""Flags of kaniko that this version lacks; they are refused by name, never ignored."""

REFUSED = frozenset(
    (
        "bucket cache-dir cleanup "
        "context-sub-path dryrun force-build-metadata git ignore-path ignore-var-run "
        "image-fs-extract-retry kaniko-dir materialize  "
        "pre-cleanup preserve-context single-snapshot skip-unused-stages snapshot-mode snapshotMode "
        "use-new-run whitelist-var-run"
    ).split()
)
