"""Flags of kaniko that this version lacks; they are refused by name, never ignored."""

REFUSED = frozenset(
    (
        "annotation bucket cache cache-copy-layers cache-dir cache-repo cache-run-layers cache-ttl "
        "cleanup compressed-caching compression compression-level context-sub-path custom-platform "
        "customPlatform dryrun force force-build-metadata git ignore-path ignore-var-run image-format "
        "image-fs-extract-retry image-name-tag-with-digest-file image-name-with-digest-file kaniko-dir "
        "log-format log-timestamp materialize no-push-cache pre-cleanup preserve-context reproducible "
        "single-snapshot skip-unused-stages snapshot-mode snapshotMode tarPath use-new-run "
        "whitelist-var-run"
    ).split()
)
