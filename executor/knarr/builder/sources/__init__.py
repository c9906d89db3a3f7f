"""Where COPY, ADD and mounts find files."""
