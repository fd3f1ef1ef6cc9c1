"""What all clients of a server together may have in its memory: answers that nobody takes, heads and bodies."""

from deploy.http.server import bound_bodies, bound_heads, bound_unread
from tests.unit.deploy.http.wire import connect, stalled


async def test_what_clients_leave_unread_together_is_bounded() -> None:
    wires = [stalled(400_000) for _ in range(4)]
    reading = connect()
    for seconds, wire in enumerate(wires):
        wire.after(seconds)  # the first has been waited for longest
    protocols = [wire.protocol for wire in (reading, *reversed(wires))]
    bound_unread(protocols, 1_600_000)
    assert not any(wire.was_aborted() for wire in wires)
    bound_unread(protocols, 900_000)
    assert [wire.was_aborted() for wire in wires] == [True, True, False, False]
    assert reading.is_open()
    for wire in wires[2:]:
        wire.protocol.transport.abort()
    for wire in wires:
        await wire.settle()


async def test_what_clients_send_of_heads_together_is_bounded() -> None:
    wires = [connect() for _ in range(5)]
    for wire, size in zip(wires, (10_000, 60_000, 20_000, 50_000, 40_000), strict=True):
        wire.send(b"GET / HTTP/1.1\r\nX: " + b"x" * size)
    # A part that comes behind a whole request counts too, whatever that was.
    wires[4].send(b"\r\n\r\nGET / HTTP/1.1\r\nX: " + b"x" * 40_000)
    protocols = [wire.protocol for wire in wires]
    bound_heads(protocols, 181_000)
    assert all(wire.is_open() for wire in wires)
    bound_heads(protocols, 100_000)
    assert [wire.was_aborted() for wire in wires] == [False, True, False, True, False]
    for wire in wires:
        await wire.settle()


async def test_bodies_that_are_not_complete_are_bounded_together() -> None:
    wires = [connect() for _ in range(4)]
    for wire, size in zip(wires, (10_000, 60_000, 20_000, 50_000), strict=True):
        wire.send(b"POST / HTTP/1.1\r\nContent-Length: 60001\r\n\r\n" + b"x" * size)
    wires[0].send(b"x" * 50_001)  # complete: its request is being answered
    protocols = [wire.protocol for wire in wires]
    bound_bodies(protocols, 130_000)
    assert all(wire.is_open() for wire in wires)
    bound_bodies(protocols, 69_000)
    assert [wire.was_aborted() for wire in wires] == [False, True, False, True]
    wires[2].send(b"x" * 40_001)
    for wire in wires:
        await wire.settle()
