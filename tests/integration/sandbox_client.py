"""A client of the sandbox's own API."""

import json
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
        return await self._all(f"/sandbox/ledgers/{ledger}/transactions")

    async def transfers(self) -> list[Any]:
        """All transfer initiations, oldest first."""
        return await self._all("/sandbox/transfer-initiations")

    async def _all(self, path: str) -> list[Any]:
        found: list[Any] = []
        while True:
            page = await self.call("GET", f"{path}?limit=10000&offset={len(found)}")
            found += page["data"]
            if not page["hasMore"]:
                return found

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Any call, of the stack's too, that must succeed; returns the JSON of the answer, None without any."""
        async with self._session.request(method, path, json=body) as answer:
            content = await answer.read()
            assert answer.status < 300, (method, path, content)
            return json.loads(content) if content else None

    async def calls(self) -> dict[str, Any]:
        """Counters by endpoint."""
        async with self._session.get("/sandbox/calls") as answer:
            counted: dict[str, Any] = (await answer.json())["data"]
            return counted
