"""What a build will do: stages, steps, their inputs, found out before any work."""
