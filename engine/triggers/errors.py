"""Why a topic is not listened to. The docstring is the default message. It is tried again."""


class TopicError(Exception):
    """The topic can't be listened to."""

    def __init__(self, message: str | None = None):
        super().__init__(message or self.__doc__)


class PositionsMissing(TopicError):
    """Topic `triggers.positions` does not exist: it is made by `orchestration topics create`."""


class TopicAway(TopicError):
    """The topic does not exist."""


class TopicChanged(TopicError):
    """The topic was deleted and created again, or has more partitions than before."""
