"""The current workflows in memory, behind the engine's port."""

import asyncio

from schemas.current import CurrentWorkflow


class MemoryWorkflows:
    """`engine.ports.Workflows` that a test fills; while `read` is not set, nobody knows whether it is up to date."""

    def __init__(self) -> None:
        self.known: dict[str, CurrentWorkflow] = {}
        self.read = asyncio.Event()
        self.read.set()

    async def catch_up(self) -> None:
        """See `Workflows.catch_up`."""
        await self.read.wait()

    def workflow(self, workflow_id: str) -> CurrentWorkflow | None:
        """See `Workflows.workflow`."""
        return self.known.get(workflow_id)
