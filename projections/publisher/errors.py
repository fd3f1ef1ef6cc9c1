"""Why a partition is not published at the moment. The docstring is the default message. Publishing is tried again."""


class PublisherError(Exception):
    """The partition can't be published."""

    def __init__(self, message: str | None = None):
        super().__init__(message or self.__doc__)


class TransactionFailed(PublisherError):
    """Kafka refused a transaction, or its outcome is unknown."""


class Fenced(TransactionFailed):
    """Another publisher has taken the partition over."""


class LogBehindPosition(PublisherError):
    """The log ends before the position of the publisher: it was cut or created again."""
