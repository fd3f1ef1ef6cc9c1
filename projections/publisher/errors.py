"""Why a partition is not published at the moment, besides `schemas.kafka.TransactionFailed` and `LogFault`.

The docstring is the default message.
"""


class PublisherError(Exception):
    """The partition can't be published."""

    def __init__(self, message: str | None = None):
        super().__init__(message or self.__doc__)


class LogUnknown(PublisherError):
    """Kafka does not tell what the partition of the log holds. It is asked again."""
