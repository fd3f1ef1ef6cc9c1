"""Histories: the stages of an instance, the activities of a stage (contract: `http-api`, Resources)."""

import re

from api.errors import NotFound
from api.ids import parse_id
from api.ports import ActivityRow, StageHistoryRow
from api.resources.instances import no_instance
from api.services import Services

_STAGE_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
"""A plain integer below 10⁹; everything else names no stage."""


async def instance_history(services: Services, instance_id: str) -> list[StageHistoryRow]:
    """The started stages of an instance, in order.

    Raises:
        NotFound: there is no such instance.
    """
    parsed = parse_id(instance_id)
    rows = None if parsed is None else await services.read_model.history(parsed)
    if rows is None:
        raise no_instance(instance_id)
    return rows


async def stage_history(services: Services, instance_id: str, number: str) -> list[ActivityRow]:
    """The activities of a stage, in order; none for a stage without.

    Raises:
        NotFound: there is no such instance, or the stage did not start.
    """
    parsed = parse_id(instance_id)
    rows = None
    if parsed is not None and _STAGE_NUMBER.fullmatch(number):
        rows = await services.read_model.activities(parsed, int(number))
    if rows is None:
        raise NotFound(f"instance {instance_id!r} has no started stage {number!r}")
    return rows
