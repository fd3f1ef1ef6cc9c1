"""A client of the API for tests: sends exactly what it is told and shows everything of the answer."""

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

Json = dict[str, Any]

TIMEOUT = aiohttp.ClientTimeout(total=45.0)
"""Above every deadline of the service: what takes longer is a request that was forgotten."""


class Answer:
    """An answer.

    Args:
        status: of HTTP.
        headers: all of them.
        body: as it came.
    """

    def __init__(self, status: int, headers: CIMultiDictProxy[str], body: bytes):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """The body's JSON value."""
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        """What is in the envelope of a success."""
        assert self.status in (200, 201), self
        assert self.headers["content-type"] == "application/json"
        return self.json()["data"]

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of an error."""
        assert self.headers["content-type"] == "application/json"
        value = self.json()
        assert set(value) == {"errorCode", "errorMessage"}
        assert value["errorMessage"]
        return self.status, value["errorCode"]

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:500]!r}>"


class Client:
    """A client of one API process.

    Args:
        session: closed by somebody else.
        url: of the process.
        base_path: where the operations are.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, base_path: str):
        self._session = session
        self.url = url
        self.base_url = url + base_path

    async def call(
        self, method: str, path: str, body: Any = None, *, content: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """Send a request; `body` is sent as JSON, `content` as it is."""
        data = content if body is None else json.dumps(body).encode()
        kind = {"content-type": "application/json"} if data is not None else {}
        async with self._session.request(
            method, self.base_url + path, data=data, headers={**kind, **headers}, timeout=TIMEOUT
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Answer:
        """GET."""
        return await self.call("GET", path)

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """POST JSON; `idempotency_key="k"` sends the header of that name."""
        return await self.call(
            "POST", path, body, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    async def put(self, path: str) -> Answer:
        """PUT without a body."""
        return await self.call("PUT", path)

    async def delete(self, path: str) -> Answer:
        """DELETE."""
        return await self.call("DELETE", path)

    # What nearly every test needs

    async def workflow(self, *stages: Json, name: str = "") -> str:
        """Create a workflow; returns its id."""
        created = (await self.post("/workflows", {"name": name, "stages": list(stages)})).data
        return str(created["id"])

    async def run(self, workflow_id: str, variables: Any = None, *, wait: bool = False) -> Json:
        """Run a workflow; returns the instance."""
        path = f"/workflows/{workflow_id}/instances" + ("?wait=true" if wait else "")
        started: Json = (await self.post(path, variables)).data
        return started

    async def instance(self, instance_id: str) -> Json:
        """An instance."""
        shown: Json = (await self.get(f"/instances/{instance_id}")).data
        return shown

    async def send(self, instance_id: str, name: str, **payload: Any) -> Answer:
        """Send an event."""
        return await self.post(f"/instances/{instance_id}/events", {"name": name, **payload})

    async def abort(self, instance_id: str) -> Answer:
        """Abort an instance."""
        return await self.put(f"/instances/{instance_id}/abort")
