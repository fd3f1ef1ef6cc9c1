"""What events of bulk operations mean for the read model, and how their commands are counted. Pure."""

from typing import Final

import msgspec

from projections.rows import Bulk, BulkOutcome
from schemas import events

DONE: Final = "DONE"
"""Outcome of a command that was carried out; all others are codes of `schemas.rejections`."""

Bulks = dict[str, Bulk]
Outcomes = dict[tuple[str, int, str], BulkOutcome]


def fold_bulk(bulks: Bulks, partition: int, id: str, event: events.BulkEvent) -> None:
    """Fold an event of an operation into the rows of a batch."""
    if isinstance(event, events.BulkStarted):
        bulks[id] = Bulk(
            id,
            event.at,
            partition,
            event.action,
            bytes(event.filter).decode(),
            event.expected,
            event.at,
            request=event.request_digest,
            created_by=_text(event.by),
            created_reason=_text(event.reason),
            pages=0,
            sent=0,
            lost=0,
            page_at=event.begin_at,
        )
        return
    row = bulks.get(id)
    if row is None:
        row = bulks[id] = Bulk(id, event.at)
    row.updated_at = event.at
    match event:
        case events.BulkAdvanced():
            row.pages, row.sent, row.lost = event.page + 1, event.sent, event.lost
            row.page, row.page_at = msgspec.json.encode(event.instances).decode(), event.created_at
        case events.BulkStopped():
            row.stopped_at, row.stopped_by, row.stopped_reason = event.at, _text(event.by), _text(event.reason)
        case events.BulkEnded():
            row.terminated_at, row.lost, row.page = event.at, event.lost, None


def count(outcomes: Outcomes, partition: int, bulk_id: str | None, outcome: str = DONE) -> None:
    """Count what became of a command, if an operation has sent it."""
    if bulk_id is None:
        return
    key = bulk_id, partition, outcome
    if key in outcomes:
        outcomes[key].instances += 1
    else:
        outcomes[key] = BulkOutcome(*key, 1)


def _text(value: str | None) -> str | None:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if value else value
