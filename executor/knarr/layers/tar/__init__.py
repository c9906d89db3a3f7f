"""The tar format, read with limits, written deterministically."""
