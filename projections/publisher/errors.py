"""Why a partition is not published at the moment, besides `schemas.kafka.TransactionFailed`. It is tried again.

The docstring is the default message.
"""


class PublisherError(Exception):
    """The partition can't be published."""

    def __init__(self, message: str | None = None):
        super().__init__(message or self.__doc__)


class LogBehindPosition(PublisherError):
    """The log ends before the position of the publisher: it was cut or created again."""
