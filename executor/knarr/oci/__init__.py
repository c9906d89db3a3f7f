"""Values of the OCI image specification; no IO."""
