"""The product's load generator, with what the measurements here have to make first."""

import time
from typing import Any, Final

import msgspec

from deploy.bench.figures import Figures
from deploy.bench.load import LoadClient

STEP_SECONDS: Final = 2.0
"""How long instances are started until they are counted."""


class Client(LoadClient):
    """A number of clients of an installation of our own: a request that does not succeed is a fault."""

    async def create_workflow(self, definition: dict[str, Any]) -> str:
        """Create a workflow; its id."""
        return await self._create("/workflows", msgspec.json.encode(definition))

    async def run_instance(self, workflow: str, *, wait: bool = True) -> str:
        """Run a workflow; the instance's id."""
        return await self._create(f"/workflows/{workflow}/instances?wait={str(wait).lower()}", b"")

    async def run_and_wait(self, name: str, seconds: float, workflow: str) -> Figures:
        """Run a workflow and wait for the instance's end, over and over from every client."""
        return await self.measure(name, seconds, "POST", [f"/workflows/{workflow}/instances?wait=true"])

    async def start_instances(self, workflow: str, count: int) -> int:
        """Start so many instances at least, from every client; how many there are. Prints how long it took."""
        began, started = time.perf_counter(), 0
        while started < count:
            started += (await self.measure("start", STEP_SECONDS, "POST", [f"/workflows/{workflow}/instances"])).count
        print(f"{started:,} instances were started in {time.perf_counter() - began:.1f} s", flush=True)
        return started

    async def get(self, path: str) -> Any:
        """GET a path below the base; the answer's `data`."""
        status, body = await self.request("GET", path)
        assert status == 200, body
        return msgspec.json.decode(body)["data"]

    async def post(self, path: str, body: bytes = b"") -> Any:
        """POST what makes something; the answer's `data`."""
        status, answer = await self.request("POST", path, body)
        assert status == 201, answer
        return msgspec.json.decode(answer)["data"]

    async def _create(self, path: str, body: bytes) -> str:
        created: str = (await self.post(path, body))["id"]
        return created
