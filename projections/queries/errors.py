"""The one error of the queries."""


class ReadModelUnavailable(Exception):
    """Postgres is away or too slow. The client should retry."""

    def __init__(self, message: str | None = None):
        super().__init__(message or self.__doc__)
