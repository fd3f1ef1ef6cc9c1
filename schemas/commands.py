"""Commands: what the API asks of the engine. One record on topic `commands` each, keyed by the aggregate's id.

A command is accepted when Kafka has acknowledged it. Every accepted command leaves at least one record with its offset
as `cause` on topic `events`: an event, a rejection or a mark that it was skipped.
"""

from typing import Any

from msgspec import Struct


class CreateWorkflow(Struct, frozen=True, kw_only=True):
    """Create the workflow whose id is the key. The definition has been validated."""

    name: str
    stages: list[dict[str, Any]]
    request: str | None = None
    """Digest of the request that carried an `Idempotency-Key`; another digest for the same id is refused."""


class DeleteWorkflow(Struct, frozen=True, kw_only=True):
    """Delete the workflow whose id is the key; repeatable."""


class RunWorkflow(Struct, frozen=True, kw_only=True):
    """Start the instance whose id is the key.

    It carries the definition, so that instances of one workflow spread over all partitions and keep what they started
    with.
    """

    workflow_id: str
    stages: list[dict[str, Any]]
    variables: dict[str, str]
    request: str | None = None
    """Digest of the request that carried an `Idempotency-Key`."""
    seen_offset: int = 0
    """Only with `request`: the events of the instance's partition below this offset were in the read model when the API
    looked for the instance there and found none. The engine knows what came later, so together they know all."""


class SendEvent(Struct, frozen=True, kw_only=True):
    """Send an event to the instance whose id is the key."""

    name: str
    payload: dict[str, Any] = {}
    """The body's other keys; kept in the log, without effect."""


class AbortInstance(Struct, frozen=True, kw_only=True):
    """End the instance whose id is the key with error `canceled`."""


Command = CreateWorkflow | DeleteWorkflow | RunWorkflow | SendEvent | AbortInstance
