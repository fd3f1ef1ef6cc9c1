"""Which records of an `events` partition count: the rule that every reader of the log follows.

An engine that takes a partition over appends a `PartitionClaimed`; the offset of that record is its *epoch*, and every
record that it writes carries it. A record counts if its epoch is that of the newest claim before it. So what a
superseded engine still appends is skipped by everybody, without a transaction.

A claim lies before all records of its epoch. So a record whose epoch is newer than all claims before it shows that its
claim was lost: the log was cut, and has grown again. Whether the record counts nobody can tell, so it stops its reader.
An epoch that is not before the record itself can't be one, so somebody else wrote the record, or it was written after
the cut by an owner from before it, who has noticed: it is skipped.
"""

from typing import Final

from schemas.fillers import is_filler
from schemas.log_integrity import LogFault
from schemas.records import MESSAGES, Headers, Record, read_number
from schemas.topics import EVENTS

CLAIM_TYPE: Final = b"PartitionClaimed"
OUR_TYPES: Final = frozenset(name.encode() for name in MESSAGES)


def header(headers: Headers, name: str) -> bytes | None:
    """The value of a header, or None."""
    for key, value in headers:
        if key == name:
            return value
    return None


def is_claim(record: Record) -> bool:
    """Whether the record is a claim."""
    return header(record.headers, "type") == CLAIM_TYPE


def check_claim(partition: int, epoch: int, found: Record | None) -> None:
    """Check that a claim is where it is known to be.

    If a reader was away while the log was cut and grew again, this alone tells.

    Args:
        partition: which one.
        epoch: the newest claim that is known.
        found: the first record from that offset on, if there is one. The claim itself may have expired.

    Raises:
        LogFault: `claim`.
    """
    if found is not None and found.offset == epoch and not is_claim(found) and not is_filler(found):
        text = f"the claim at offset {epoch} is not there any more: the log was cut, and has grown again"
        raise LogFault("claim", EVENTS, partition, text)


class EpochFilter:
    """Tells, record by record in the order of one partition, which count.

    Args:
        epoch: the newest claim before the first record; -1 when reading from the start.
        partition: which one, for errors.
        repaired: records before this offset don't stop the reader: a filler is there (see `schemas.fillers`).
    """

    def __init__(self, epoch: int = -1, partition: int = -1, repaired: int = 0):
        self.epoch = epoch
        self._partition, self._repaired = partition, repaired

    def admits(self, record: Record) -> bool:
        """Whether the record is an event that counts. A claim moves the epoch; it is not an event.

        Raises:
            LogFault: `claim`: the record belongs to a claim that is not in the log.
        """
        text: bytes | None = None
        for name, value in record.headers:
            if name == "epoch":
                text = value
            elif name == "type" and value == CLAIM_TYPE:
                self.epoch = record.offset
                return False
        if text is None:
            return False
        epoch = read_number(text)
        if epoch is not None and self.epoch < epoch < record.offset and record.offset >= self._repaired:
            self._check_ours(record, epoch)
        return epoch == self.epoch

    def _check_ours(self, record: Record, epoch: int) -> None:
        """Raise if it is one of our records. What somebody else writes stops nobody."""
        if header(record.headers, "type") in OUR_TYPES:
            raise LogFault(
                "claim",
                EVENTS,
                self._partition,
                f"the record at offset {record.offset} belongs to a claim at offset {epoch}, which is not in the log"
                f" (the newest one before it is {_shown(self.epoch)}): the log was cut, and has grown again",
            )


def _shown(epoch: int) -> str:
    return "none" if epoch < 0 else f"at {epoch}"
