"""A few connections for many statements."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from projections.database import Session
from projections.ports import Row
from projections.queries import connections
from projections.queries.connections import MAX_CONNECTIONS, Connections
from projections.queries.errors import ReadModelUnavailable


class Server:
    """A database whose statements end when a test says so."""

    def __init__(self) -> None:
        self.running: dict[bytes, asyncio.Future[None]] = {}
        self.used: list[int] = []
        """Numbers of the connections, by statement."""
        self.made = 0

    async def connect(
        self, name: str, *, statement_timeout_seconds: float, parameters: Mapping[str, str] | None = None
    ) -> "Connection":
        self.made += 1
        return Connection(self, self.made)

    async def listen(self, name: str) -> Any:
        raise NotImplementedError

    async def end(self, query: bytes) -> None:
        self.running.pop(query).set_result(None)
        await settle()


class Connection:
    def __init__(self, server: Server, number: int):
        self._server, self._number = server, number
        self.closed = False

    async def fetch(self, query: bytes, parameters: Sequence[Any]) -> list[Row]:
        if b"caught_up" in query:
            return [(True,)]
        self._server.used.append(self._number)
        self._server.running[query] = asyncio.get_running_loop().create_future()
        await self._server.running[query]
        return [(query,)]

    async def close(self) -> None:
        self.closed = True


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def asked(lists: Connections, first: int, count: int) -> list[asyncio.Task[list[Row]]]:
    tasks = [asyncio.create_task(lists.execute(b"%d" % n, ())) for n in range(first, first + count)]
    await settle()
    return tasks


async def test_who_has_waited_longest_is_next_and_the_connection_used_last_comes_first() -> None:
    server = Server()
    lists = Connections(server, "lists")
    tasks = await asked(lists, 0, MAX_CONNECTIONS + 2)
    assert list(server.running) == [b"%d" % n for n in range(MAX_CONNECTIONS)]
    await server.end(b"2")
    assert server.used[-1] == 3
    late = await asked(lists, 100, 1)
    await server.end(b"0")
    assert list(server.running)[-2:] == [b"%d" % MAX_CONNECTIONS, b"%d" % (MAX_CONNECTIONS + 1)]
    await server.end(b"1")
    assert list(server.running)[-1] == b"100"
    for query in list(server.running):
        await server.end(query)
    assert [task.result() for task in (*tasks, *late)] == [[(b"%d" % n,)] for n in (*range(MAX_CONNECTIONS + 2), 100)]
    last = server.used[-1]
    await asked(lists, 200, 1)
    assert server.used[-1] == last
    assert server.made == MAX_CONNECTIONS
    await server.end(b"200")


@pytest.mark.parametrize("is_handed_on", [False, True])
async def test_who_gives_up_leaves_the_connection_to_others(
    is_handed_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    lists = Connections(server, "lists")
    await asked(lists, 0, MAX_CONNECTIONS)
    gone, next = await asked(lists, 10, 2)
    if is_handed_on:
        hand_on = lists._hand_on

        def hand_on_too_late(session: Session) -> None:
            hand_on(session)
            gone.cancel()

        monkeypatch.setattr(lists, "_hand_on", hand_on_too_late)
    else:
        gone.cancel()
        await settle()
    await server.end(b"0")
    assert gone.cancelled()
    assert b"11" in server.running
    for query in list(server.running):
        await server.end(query)
    assert next.result() == [(b"11",)]
    assert len(lists._free) == MAX_CONNECTIONS


async def test_who_waits_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "TIMEOUT_SECONDS", 0.01)
    server = Server()
    lists = Connections(server, "lists")
    monkeypatch.undo()
    await asked(lists, 0, MAX_CONNECTIONS)
    with pytest.raises(ReadModelUnavailable, match="connections for lists are busy"):
        await lists.execute(b"10", ())
    for query in list(server.running):
        await server.end(query)
    assert len(lists._free) == MAX_CONNECTIONS


async def test_why_nothing_can_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.database.CONNECT_TIMEOUT_SECONDS", -0.99)
    monkeypatch.setattr(connections, "TIMEOUT_SECONDS", -0.99)

    class Full(Server):
        async def connect(self, *_: Any, **__: Any) -> "Connection":
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(ReadModelUnavailable, match=r"no connection within .* max_connections"):
        await Connections(Full(), "lists").execute(b"0", ())
    with pytest.raises(ReadModelUnavailable, match=r"no answer within"):
        await Connections(Server(), "lists").execute(b"0", ())
