"""When an instance may have changed: by its stream, or by and by."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import pytest

from deploy.client import server_events
from deploy.client.news import FIRST_MESSAGE_SECONDS, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, SILENCE_SECONDS, News
from deploy.client.server_events import NoStream, ServerEvent, read_events
from schemas.stack.errors import NoAnswer
from tests.simulation.loop import simulate

STREAM = (
    b"retry: 1500\nid: a\nevent: instance\ndata: {}\n\n: c\n\nevent: heartbeat\ndata: {}\n\nid: b\ndata: 1\ndata: 2\n\n"
)
READ = [ServerEvent("instance", "{}", "a"), ServerEvent("heartbeat", "{}", "a"), ServerEvent("message", "1\n2", "b")]


async def pieces(*some: bytes) -> AsyncIterator[bytes]:
    for piece in some:
        yield piece


async def read(*some: bytes) -> list[ServerEvent]:
    return [event async for event in read_events(pieces(*some))]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
async def test_messages_are_read_however_they_are_cut(end: bytes) -> None:
    text = STREAM.replace(b"\n", end)
    assert await read(text) == READ
    assert await read(*(text[n : n + 1] for n in range(len(text)))) == READ
    for cut in range(len(text)):
        assert await read(text[:cut], b"", text[cut:]) == READ


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b"data: half", []),
        (b"event: x\n\n", []),
        (b"data\n\n", [ServerEvent("message", "", "")]),
        (b"data:1\nother: 2\n\n", [ServerEvent("message", "1", "")]),
        (b"id: a\0b\ndata: \xff\n\n", [ServerEvent("message", "\N{REPLACEMENT CHARACTER}", "")]),
        (b"", []),
    ],
)
async def test_odd_messages(text: bytes, events: list[ServerEvent]) -> None:
    assert await read(text) == events
    assert all(event.json() in (None, 1) for event in events)


@pytest.mark.parametrize("text", [b"data: " + b"x" * 100, b"data: 1\n" * 100])
async def test_a_message_that_is_too_large(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(server_events, "MAX_EVENT_BYTES", 50)
    with pytest.raises(NoAnswer):
        await read(text)


class FakeApi:
    """Streams that say and do what they are told, one after another: messages, seconds of silence, errors."""

    def __init__(self, *streams: Sequence[Any]):
        self._streams = list(streams)
        self.ids: list[str] = []
        self.open = 0

    async def stream(self, *path: str, last_event_id: str) -> AsyncGenerator[ServerEvent, None]:
        assert path == ("instances", "i-1", "stream")
        self.ids.append(last_event_id)
        self.open += 1
        try:
            for step in self._streams.pop(0):
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.open -= 1


def shown(id: str) -> ServerEvent:
    return ServerEvent("instance", f'{{"id": "{id}"}}', id)


HEARTBEAT, END = ServerEvent("heartbeat", "{}", "a"), ServerEvent("end", "{}", "b.end")


def watched(*streams: Sequence[Any], looks: int) -> tuple[list[tuple[float, Any]], FakeApi]:
    """When somebody had to look, and what was shown; and the API."""
    api = FakeApi(*streams)

    async def watch() -> list[tuple[float, Any]]:
        news = News(api, "i-1")  # type: ignore[arg-type]
        found = [(await news.next(changed=False), asyncio.get_running_loop().time()) for _ in range(looks)]
        await news.close()
        assert api.open == 0
        return [(round(at, 2), what) for what, at in found]

    return simulate(watch()), api


def test_the_stream_tells() -> None:
    found, api = watched([shown("a"), 50.0, HEARTBEAT, 50.0, shown("b"), END], looks=3)
    assert found == [(0.0, {"id": "a"}), (100.0, {"id": "b"}), (100.0, None)]
    assert api.ids == [""]


def test_a_stream_that_breaks_goes_on_where_it_was() -> None:
    found, api = watched([shown("a"), 1.0, NoAnswer("cut")], [shown("b"), 1.0], [shown("c")], looks=5)
    assert [what for _, what in found] == [{"id": "a"}, None, {"id": "b"}, None, {"id": "c"}]
    assert api.ids == ["", "a", "b"]
    assert found[-1][0] < 3


@pytest.mark.parametrize("status", [404, 405, 200, 401])
def test_without_streams_it_is_polled(status: int) -> None:
    found, api = watched([NoStream(status)], looks=20)
    assert {what for _, what in found} == {None}
    assert len(api.ids) == 1
    assert found[0][0] == 0.0
    pauses = [after - before for (before, _), (after, _) in itertools.pairwise(found)]
    assert pauses[0] == pytest.approx(FIRST_PAUSE_SECONDS * 1.3, abs=0.01)
    assert pauses[-1] == pytest.approx(MAX_PAUSE_SECONDS)


def test_while_the_server_has_too_many_streams_it_is_polled() -> None:
    found, api = watched([NoStream(503)], [NoStream(503)], [shown("a")], looks=3)
    assert [what for _, what in found] == [None, None, {"id": "a"}]
    assert api.ids == ["", "", ""]


def test_a_stream_that_is_held_back_is_given_up() -> None:
    found, api = watched([100.0], looks=3)
    assert found[0] == (FIRST_MESSAGE_SECONDS, None)
    assert found[2][0] < FIRST_MESSAGE_SECONDS + 1
    assert api.ids == [""]


def test_a_connection_that_was_cut_unnoticed_is_made_again() -> None:
    found, api = watched([shown("a"), 1000.0], [shown("b")], looks=3)
    assert found[1][0] == pytest.approx(SILENCE_SECONDS, abs=1)
    assert found[2][1] == {"id": "b"}
    assert api.ids == ["", "a"]
