"""The listener: what waits at it when it is closed, and a port that several processes share."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import uvloop

from deploy.errors import DeployError
from deploy.http.server import ManagedServer, bind, bind_shared, server_config
from tests.unit.deploy.http.wire import echo, read_answers

HOST = "127.0.0.1"
GET = b"GET / HTTP/1.1\r\nHost: api\r\n\r\n"
CLIENTS = 3


async def stop_before_they_are_accepted() -> None:
    with bind(HOST, 0) as listener:
        address = listener.getsockname()
        server = ManagedServer(server_config(echo, max_connections=100, stop_seconds=60))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0)
        # The loop does not run meanwhile, so nobody accepts them.
        clients = [socket.create_connection(address) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(GET)
        server.should_exit = True
        await server.shutdown([listener])
        await serving
    for client in clients:
        with client:
            (answer,) = read_answers(client.makefile("rb").read())
            assert answer.status == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_stop_answers_who_waits_at_the_listener(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    run(stop_before_they_are_accepted())


def test_a_shared_port_is_for_processes_of_one_installation() -> None:
    with bind_shared(HOST, 0, first=True) as held:
        port = held.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        with bind_shared(HOST, port, first=False) as one, bind_shared(HOST, port, first=False) as other:
            one.listen()
            other.listen()
            for take in (bind, partial(bind_shared, first=True)):
                with pytest.raises(DeployError, match=f"can't listen on {HOST}:{port}: Address already in use"):
                    take(HOST, port)
