"""Connections to a real API: a run keeps its variables whatever the client asks for, and a stop cuts nothing."""

import asyncio
from urllib.parse import urlsplit

import msgspec

from schemas.settings import ApiSettings
from tests.integration.http_client import Client, Json
from tests.integration.installation import Installation
from tests.integration.waiting import eventually
from tests.unit.deploy.http.wire import Answer, read_answers

PAYS: Json = {
    "send": {
        "source": {"account": {"id": "world"}},
        "destination": {"account": {"id": "users:${who}x"}},
        "amount": {"amount": 500, "asset": "EUR/2"},
    }
}
WAITS: Json = {"wait_event": {"event": "go"}}
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
"""What `curl --http2` and the HTTP client of Java send by default."""


class Raw:
    """A connection on which a test decides what goes into which segment."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> "Raw":
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answers(self) -> list[Answer]:
        """All answers, once the API has closed the connection."""
        try:
            async with asyncio.timeout(60):
                return read_answers(await self._reader.read(-1))
        finally:
            self._writer.close()


def head(client: Client, path: str, body: bytes, more: str = "") -> bytes:
    target = urlsplit(client.base_url).path + path
    lines = [f"POST {target} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n" + more + "\r\n").encode()


async def test_a_run_of_a_client_that_asks_for_another_protocol_has_its_variables(installation: Installation) -> None:
    client = installation.client()
    workflow = await client.workflow(PAYS)
    body = b'{"who":"alice"}'
    begin = head(client, f"/workflows/{workflow}/instances?wait=true", body, H2C)
    for segments in ([begin + body], [begin, body]):
        raw = await Raw.open(client.url)
        for segment in segments:
            await raw.send(segment)
            await client.get("/_info")  # once this is answered, the segment has been read
        await raw.send(b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n")
        run, live = await raw.answers()
        assert (run.status, live.json()) == (201, {"live": True})
        instance = run.json()["data"]
        assert instance["terminated"] is True
        assert "error" not in instance
        (stage,) = (await client.get(f"/instances/{instance['id']}/history")).data
        assert stage["input"]["destination"]["account"]["id"] == "users:alicex"


async def test_a_stop_cuts_nothing(installation: Installation) -> None:
    api = installation.add_api()
    assert isinstance(api.settings, ApiSettings)
    api.settings = msgspec.structs.replace(api.settings, shutdown_timeout_seconds=8.0)
    await api.start()
    client = installation.client(api)
    workflow = await client.workflow(WAITS)
    runs = [asyncio.create_task(client.run(workflow, wait=True)) for _ in range(3)]
    raw = await Raw.open(client.url)
    await raw.send(head(client, "/workflows", b" " * 100) + b"{")  # the rest never comes
    await eventually(
        lambda: api.metric('orchestration_api_waiting_requests{kind="command"}'), lambda waiting: waiting == 4
    )
    assert await api.terminate() == 0
    for instance in await asyncio.gather(*runs):
        assert instance["terminated"] is False
        assert (await installation.client().instance(instance["id"]))["workflowID"] == workflow
        await installation.client().abort(instance["id"])
    (refused,) = await raw.answers()
    assert refused.error == (503, "INTERNAL")
    assert refused.headers["retry-after"] == "1"
