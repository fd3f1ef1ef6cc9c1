"""Rows as the parts of `sql/project` take them: one JSON object each, without the columns that have no value.

A row with `created_at` (`started_at` for stages and activities) is new. Without it, it holds what changes in a row that
an earlier batch made.
"""

from datetime import datetime

from msgspec import Struct


class Workflow(Struct, omit_defaults=True):
    """Row of `workflows`; `acts` are added to those there."""

    id: str
    updated_at: datetime
    name: str | None = None
    definition: str | None = None
    created_at: datetime | None = None
    deleted_at: datetime | None = None
    request: str | None = None
    max_attempts: int | None = None
    acts: str | None = None


class Instance(Struct, omit_defaults=True):
    """Row of `instances`. An empty `waiting`: it waits for nothing any more. `acts` are added to those there."""

    id: str
    updated_at: datetime
    workflow_id: str | None = None
    created_at: datetime | None = None
    terminated_at: datetime | None = None
    error: str | None = None
    request: str | None = None
    variables: str | None = None
    trigger_id: str | None = None
    occurrence_id: str | None = None
    activity: str | None = None
    waiting: str | None = None
    state: str | None = None
    keys: int | None = None
    """How many keys its events had (see `projections.keys`); in a change, how many more."""
    acts: str | None = None
    retries: int | None = None
    retryable: str | None = None


class Stage(Struct, omit_defaults=True):
    """Row of `stages`; one without `started_at` ends the stage."""

    instance_id: str
    number: int
    name: str | None = None
    input: str | None = None
    started_at: datetime | None = None
    terminated_at: datetime | None = None
    error: str | None = None


class Activity(Struct, omit_defaults=True):
    """Row of `activities`; one without `started_at` replaces everything but what the start and earlier failures set."""

    instance_id: str
    stage: int
    index: int
    attempt: int
    name: str | None = None
    input: str | None = None
    output: str | None = None
    started_at: datetime | None = None
    terminated_at: datetime | None = None
    error: str | None = None
    last_failure: str | None = None
    next_execution: datetime | None = None
    paused_at: datetime | None = None
    max_attempts: int | None = None
    last_failure_type: str | None = None
    key_number: int | None = None
    key_used: bool | None = None


class Retry(Struct, omit_defaults=True):
    """The beginning of a pass: what the one before left in its last stage goes to `past_stages` and `past_activities`.

    `retries` is how often the instance had been retried before. The first `kept` activities stay. The rest says what of
    the stage the same batch starts again.
    """

    instance_id: str
    retries: int
    stage: int
    kept: int
    starts: bool = False
    activities: list[int] = []


class PastStage(Struct, omit_defaults=True):
    """Row of `past_stages`."""

    instance_id: str
    retries: int
    number: int
    name: str | None = None
    input: str | None = None
    started_at: datetime | None = None
    terminated_at: datetime | None = None
    error: str | None = None


class PastActivity(Struct, omit_defaults=True):
    """Row of `past_activities`."""

    instance_id: str
    retries: int
    stage: int
    index: int
    attempt: int
    name: str | None = None
    input: str | None = None
    output: str | None = None
    started_at: datetime | None = None
    terminated_at: datetime | None = None
    error: str | None = None
    last_failure: str | None = None
    last_failure_type: str | None = None
    key_number: int | None = None
    key_used: bool | None = None


class Trigger(Struct, omit_defaults=True):
    """Row of `triggers`; one without `created_at` deletes the trigger, and its `acts` are added to those there."""

    id: str
    name: str | None = None
    folded_name: str | None = None
    event: str | None = None
    version: str | None = None
    workflow_id: str | None = None
    filter: str | None = None
    vars: str | None = None
    created_at: datetime | None = None
    deleted_at: datetime | None = None
    request: str | None = None
    acts: str | None = None


class Occurrence(Struct, omit_defaults=True):
    """Row of `occurrences`."""

    id: str
    trigger_id: str
    date: datetime
    event: str
    workflow_instance_id: str | None = None
    error: str | None = None


class Rejection(Struct):
    """Row of `rejections`."""

    partition: int
    cause: int
    code: str
    message: str
    at: datetime


class EventRequest(Struct):
    """Row of `event_requests`."""

    instance_id: str
    key: str
    request: str


class Bulk(Struct, omit_defaults=True):
    """Row of `bulks`. One that has ended has no `page` any more."""

    id: str
    updated_at: datetime
    partition: int | None = None
    action: str | None = None
    filter: str | None = None
    expected: int | None = None
    created_at: datetime | None = None
    stopped_at: datetime | None = None
    terminated_at: datetime | None = None
    request: str | None = None
    created_by: str | None = None
    created_reason: str | None = None
    stopped_by: str | None = None
    stopped_reason: str | None = None
    pages: int | None = None
    sent: int | None = None
    lost: int | None = None
    page: str | None = None
    page_at: datetime | None = None


class BulkOutcome(Struct):
    """Row of `bulk_outcomes`; in a batch, `instances` is what is added."""

    bulk_id: str
    partition: int
    outcome: str
    instances: int


class Count(Struct, omit_defaults=True):
    """What a batch adds to a row of `counts`, see `projections.counting`."""

    what: str
    stage: int
    hour: int
    bucket: int
    count: int
    workflow_id: str | None = None
    instance_id: str | None = None
    """In place of the workflow, if only the database knows that."""


class InstanceKey(Struct):
    """Row of `instance_keys`."""

    instance_id: str
    key: str
    created_at: datetime
    """Of the instance."""


class FoundKey(Struct, omit_defaults=True):
    """A key that an event had. It becomes a row, unless the instance has too many."""

    instance_id: str
    key: str
    created_at: datetime | None = None
    """Of the instance; None if an earlier batch made it."""
    room: int = 0
    """Of an instance of an earlier batch: the key counts if that had fewer keys before."""


class ReadPosition(Struct, frozen=True):
    """Row of `positions`: how far a partition is in the read model."""

    next_offset: int = 0
    epoch: int = -1
    """The newest claim before `next_offset` (see `schemas.epochs`)."""
    cause: int = -1
    topic_id: str = ""
    """Kafka's id of the topic that the offsets are of; empty where it is not known yet."""


class Advance(Struct, frozen=True):
    """How a batch moves a partition; it holds only if the position is still `first_offset`."""

    partition: int
    first_offset: int
    next_offset: int
    epoch: int
    cause: int
