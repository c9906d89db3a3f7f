"""What ends a step before the executor was asked."""


class ActionError(Exception):
    """An input or a runner that can't be used; `hint` says what to change."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint
