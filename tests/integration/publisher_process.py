"""A process that runs the publisher and nothing else, for tests that kill it."""

import asyncio

from projections.publisher import Publisher
from schemas.kafka import clients_of
from schemas.settings import ProjectionsSettings, load


async def main() -> None:
    settings = load(ProjectionsSettings)
    Publisher(clients_of(settings), settings).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
