"""Whether the read model may be read: only if it has everything that it ever showed (`projections.catching_up`).

Asked once for each connection, when it is made: connections do not outlive a crash of Postgres, and what holds at their
beginning holds until their end. So a request pays nothing for it.
"""

import asyncio
from typing import Final

from projections.ports import Connection
from projections.queries.errors import ReadModelBehind
from projections.sql import statement

WAIT_SECONDS: Final = 0.9
"""How long a new connection waits. A look-up tries twice, so twice this must fit into its deadline."""
POLL_SECONDS: Final = 0.05
"""The projections catch up within moments; a longer pause would only add to the outage."""


async def wait_caught_up(connection: Connection) -> None:
    """Return once the read model has everything that it showed before Postgres started.

    Raises:
        ReadModelBehind: that takes longer.
        one of `projections.database.FAULTS`: Postgres is away.
    """
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not await _caught_up(connection):  # noqa: ASYNC110 - Postgres sets no event
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise ReadModelBehind from None


async def _caught_up(connection: Connection) -> bool:
    ((caught_up,),) = await connection.fetch(statement("all_caught_up"), ())
    return caught_up is True
