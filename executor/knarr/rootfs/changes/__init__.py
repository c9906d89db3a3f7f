"""What a step changed in a directory."""
