"""What `RUN --mount` asks for, there while a step runs."""
