"""Histories: the stages of an instance, the activities of a stage (contract: `http-api`, Resources)."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from api.errors import NotFound
from api.ids import parse_id
from api.ports import BEFORE_ALL, ActivityRow, HistoryPlace, Slice, StageHistoryRow
from api.resources.instances import no_instance
from api.services import Services

Row = TypeVar("Row", StageHistoryRow, ActivityRow)

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
"""A plain integer below 10⁹; everything else names nothing."""


def parse_number(text: str) -> int | None:
    """The number of a stage or an activity; None if the text is not a plain integer, so that it counts as unknown."""
    return int(text) if _NUMBER.fullmatch(text) else None


def instance_history(services: Services, instance_id: str) -> AsyncIterator[Slice[StageHistoryRow]]:
    """The started stages of an instance in chunks, in order.

    Raises:
        NotFound: the instance does not exist; with the first chunk.
    """
    parsed = parse_id(instance_id)

    async def read(after: HistoryPlace) -> Slice[StageHistoryRow] | None:
        return None if parsed is None else await services.read_model.history(parsed, after)

    return _chunks(read, no_instance(instance_id))


def stage_history(services: Services, instance_id: str, number: str) -> AsyncIterator[Slice[ActivityRow]]:
    """The activities of a stage in chunks, in order; none for a stage without.

    Raises:
        NotFound: the instance does not exist, or the stage did not start; with the first chunk.
    """
    parsed = parse_id(instance_id)
    stage = parse_number(number)

    async def read(after: HistoryPlace) -> Slice[ActivityRow] | None:
        if parsed is None or stage is None:
            return None
        return await services.read_model.activities(parsed, stage, after)

    missing = NotFound(f"instance {instance_id!r} has no started stage {number!r}")
    return _chunks(read, missing)


async def _chunks(
    read: Callable[[HistoryPlace], Awaitable[Slice[Row] | None]], missing: NotFound
) -> AsyncIterator[Slice[Row]]:
    after: HistoryPlace | None = BEFORE_ALL
    while after is not None:
        page = await read(after)
        if page is None:
            raise missing
        after = page.rows[-1].place if page.more else None
        held = [page]
        del page  # only the client of the moment holds the rows, which may take its time
        yield held.pop()
