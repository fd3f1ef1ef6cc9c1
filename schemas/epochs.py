"""Which records of an `events` partition count: the rule that every reader of the log follows.

An engine that takes a partition over appends a `PartitionClaimed`; the offset of that record is its *epoch*, and every
record that it writes carries it. A record counts if its epoch is that of the newest claim before it. So what a
superseded engine still appends is skipped by everybody, without a transaction.
"""

from typing import Final

from schemas.records import Headers, Record, read_number

CLAIM_TYPE: Final = b"PartitionClaimed"


def header(headers: Headers, name: str) -> bytes | None:
    """The value of a header, or None."""
    for key, value in headers:
        if key == name:
            return value
    return None


def is_claim(record: Record) -> bool:
    """Whether the record is a claim."""
    return header(record.headers, "type") == CLAIM_TYPE


class EpochFilter:
    """Tells, record by record in the order of one partition, which count.

    Args:
        epoch: the newest claim before the first record; -1 when reading from the start.
    """

    def __init__(self, epoch: int = -1):
        self.epoch = epoch

    def admits(self, record: Record) -> bool:
        """Whether the record is an event that counts. A claim moves the epoch; it is not an event."""
        epoch: bytes | None = None
        for name, value in record.headers:
            if name == "epoch":
                epoch = value
            elif name == "type" and value == CLAIM_TYPE:
                self.epoch = record.offset
                return False
        return epoch is not None and read_number(epoch) == self.epoch
