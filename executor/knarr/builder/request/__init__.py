"""What a build is asked for: values without IO."""
