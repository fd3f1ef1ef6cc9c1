"""Errors of our Kafka clients. Nothing of the client library's leaves this folder.

Every one of them may go away by itself, so whoever meets it tries again.
"""


class KafkaFault(Exception):
    """Kafka is away, refuses, or answers what can't be used."""


class KafkaUnreachable(KafkaFault):
    """No broker answers."""


class UnreadableRecords(KafkaFault):
    """The client library can't decode records, or has a defect.

    It may have lost what it had fetched besides, so a new consumer has to begin where this one was.
    """


class NameTaken(KafkaFault):
    """Another member of the group has taken the name of this one.

    Args:
        name: the name.
    """

    def __init__(self, name: str):
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"another member of the group has the name {self.name} now"


class BatchTooLarge(KafkaFault):
    """The records don't fit into one batch. Nothing was sent."""


class NotAcknowledged(KafkaFault):
    """Kafka did not acknowledge what was sent in time. Nobody knows whether it was appended."""


class KafkaAway(NotAcknowledged):
    """There is no connection to Kafka, so nothing was sent."""


class Refused(NotAcknowledged):
    """Kafka refused what was sent at the first try, so nothing was appended, and nothing will be."""


class TransactionFailed(KafkaFault):
    """Kafka refused a transaction, or its outcome is unknown."""


class Fenced(TransactionFailed):
    """Another writer of this name was opened."""
