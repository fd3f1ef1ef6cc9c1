"""Evaluating expressions with what `link()` fetches from the stack, for the test of a trigger."""

from typing import Any

from schemas.expressions import Expression, LinkAnswer
from schemas.settings import StackSettings
from schemas.stack.client import StackClient
from schemas.stack.links import LinkFetcher


class StackLinks:
    """The links of the real stack, with a pooled session of its own.

    Args:
        settings: where the stack is, and the origins that are allowed beside it.

    Raises:
        SettingsError: they can't be used.
    """

    def __init__(self, settings: StackSettings):
        self._client = StackClient(settings)
        self._fetcher = LinkFetcher(settings, self._client)

    async def open(self) -> None:
        """Make ready for requests. The stack need not be there yet."""
        await self._client.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def evaluate(self, expression: Expression, payload: Any, links: dict[str, LinkAnswer]) -> Any:
        """See `api.ports.Links`."""
        return await self._fetcher.evaluate(expression, payload, links)
