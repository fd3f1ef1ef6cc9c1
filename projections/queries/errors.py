"""What goes wrong with queries. The docstring is the default message."""


class ReadModelUnavailable(Exception):
    """Postgres is away or too slow. The client should retry."""

    def __init__(self, message: str | None = None):
        super().__init__(message or self.__doc__)


class ReadModelBehind(TimeoutError):
    """Postgres was started, and the projections have not caught up since. Reads wait for them."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)
