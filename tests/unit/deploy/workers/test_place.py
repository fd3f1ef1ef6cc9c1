"""A worker and its parent: when it listens, and when it stops."""

import asyncio
import socket
from pathlib import Path

import pytest
from starlette.applications import Starlette

from deploy.http.server import bind_shared
from deploy.roles import _serve_api_worker
from deploy.workers.place import Place
from schemas.settings import ApiSettings

HOST = "127.0.0.1"
DEADLINE_SECONDS = 60.0


async def test_a_worker_listens_when_it_may_and_stops_when_its_parent_has_gone(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    held = bind_shared(HOST, 0, first=True)
    address = held.getsockname()
    place = Place(2, 1, address[1], theirs.detach(), tmp_path)
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    with held:
        async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
            serving = group.create_task(_serve_api_worker(lambda stop: Starlette(), ApiSettings(host=HOST), place))
            assert await reader.readexactly(1)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)
            writer.write(b".")
            assert await reader.readexactly(1), "it does not show that it runs"
            while not await accepts(address):
                assert not serving.done()
            writer.close()
        assert not await accepts(address)


async def accepts(address: tuple[str, int]) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
