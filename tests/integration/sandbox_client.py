"""A client of the sandbox's own API."""

from types import TracebackType
from typing import Any, Self

import aiohttp


class SandboxClient:
    """A client of a sandbox.

    Args:
        url: of the sandbox.
    """

    def __init__(self, url: str):
        self._session = aiohttp.ClientSession(url)

    async def __aenter__(self) -> Self:
        """Nothing to do."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._session.close()

    async def faults(self, *rules: dict[str, Any], seed: int = 0) -> None:
        """Replace the fault switches; without rules nothing goes wrong."""
        async with self._session.put("/sandbox/faults", json={"faults": list(rules), "seed": seed}) as answer:
            assert answer.status == 204, await answer.text()

    async def transactions(self, ledger: str) -> list[Any]:
        """All transactions of a ledger, oldest first."""
        async with self._session.get(f"/sandbox/ledgers/{ledger}/transactions?limit=10000") as answer:
            assert answer.status == 200, await answer.text()
            shown: list[Any] = (await answer.json())["data"]
            return shown

    async def calls(self) -> dict[str, Any]:
        """Counters by endpoint."""
        async with self._session.get("/sandbox/calls") as answer:
            counted: dict[str, Any] = (await answer.json())["data"]
            return counted
