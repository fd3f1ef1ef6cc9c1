"""Live streams: what they send, how they go on, what bounds them, how they end."""

import asyncio
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from api.errors import Unavailable
from api.streams import followers, hub
from api.streams.hub import MAX_FAILURES, PAUSE_SECONDS, RETRY_SECONDS
from api.streams.messages import State
from api.v2 import render_instance
from projections.announcements import Announcement, Passed
from projections.queries.followed import FollowedInstance
from schemas.repeats import SILENCE_SECONDS
from tests.simulation.loop import in_world, simulate
from tests.unit.api.streams import Event, World, read_events

HEARTBEAT_SECONDS = 15.0


def loop_time() -> float:
    return asyncio.get_running_loop().time()


# One instance


@in_world(lambda: World().serving())
async def test_an_instance_is_followed_from_its_present_state_to_its_end(world: World) -> None:
    id = world.add(7)
    reading = world.read(f"/instances/{id}/stream")
    (first,) = await reading.until(1)
    assert (reading.status, reading.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert "connection" not in reading.headers, "only the server knows whether the connection is kept"
    assert reading.headers["cache-control"] == "no-store"
    assert (first.event, first.data) == ("instance", world.shown(id))
    assert first.retry is not None
    assert 1_000 <= first.retry < 3_000
    world.change(id)
    assert await reading.until(2) == [first, Event("instance", world.shown(id), reading.events[1].id)]
    world.end(id, "no money")
    events = await reading.end()
    assert [event.event for event in events] == ["instance", "instance", "instance", "end"]
    assert events[2].data == world.shown(id)
    assert events[2].data["terminated"]
    assert events[3] == Event("end", {"id": str(id)}, f"{events[2].id}.end")
    assert len({event.id for event in events}) == 4


@in_world(lambda: World().serving())
async def test_an_instance_that_has_ended_is_shown_once_and_its_stream_ends(world: World) -> None:
    id = world.add(7)
    world.end(id)
    events = await world.read(f"/instances/{id}/stream").end()
    assert [event.event for event in events] == ["instance", "end"]


@in_world(lambda: World().serving())
async def test_what_is_written_and_changes_nothing_that_is_shown_is_not_sent(world: World) -> None:
    id, other = world.add(7), world.add(8)
    reading = world.read(f"/instances/{id}/stream")
    await reading.until(1)
    world.announce(id)
    world.change(other)
    await asyncio.sleep(10)
    assert len(reading.events) == 1
    await reading.leave()


@in_world(lambda: World().serving())
async def test_a_client_that_comes_back_gets_only_what_it_has_not_seen(world: World) -> None:
    id = world.add(7)
    first = world.read(f"/instances/{id}/stream")
    (seen,) = await first.until(1)
    await first.leave()
    again = world.read(f"/instances/{id}/stream", last_event_id=seen.id or "")
    await asyncio.sleep(5)
    assert again.events == []
    world.change(id)
    assert [event.data for event in await again.until(1)] == [world.shown(id)]
    await again.leave()


@in_world(lambda: World().serving())
async def test_a_browser_that_has_seen_the_end_is_told_not_to_come_back(world: World) -> None:
    id = world.add(7)
    world.end(id)
    *_, end = await world.read(f"/instances/{id}/stream").end()
    assert end.id is not None
    assert (
        await world.client.call("GET", f"/v2/instances/{id}/stream", headers={"Last-Event-ID": end.id})
    ).status == 204
    before_the_end = end.id.removesuffix(".end")
    events = await world.read(f"/instances/{id}/stream", last_event_id=before_the_end).end()
    assert [event.event for event in events] == ["end"]


@in_world(lambda: World().serving())
async def test_an_instance_that_changes_often_is_read_once_for_all_changes(world: World) -> None:
    id = world.add(7)
    readings = [world.read(f"/instances/{id}/stream") for _ in range(5)]
    for reading in readings:
        await reading.until(1)
    world.backend.calls.clear()
    for _ in range(100):
        world.change(id)
    await asyncio.sleep(1)
    assert world.backend.calls.count("read 1") <= 2
    for reading in readings:
        assert reading.events[-1].data == world.shown(id)
        await reading.leave()


@in_world(lambda: World().serving())
async def test_a_silent_stream_has_heartbeats_and_an_end_that_nobody_announced_is_found(world: World) -> None:
    id = world.add(7)
    reading = world.read(f"/instances/{id}/stream")
    await reading.until(1)
    await asyncio.sleep(3 * HEARTBEAT_SECONDS + 1)
    assert reading.body.count(b"event: heartbeat\ndata: {}\n\n") == 3
    world.end(id, announced=False)
    began = loop_time()
    assert (await reading.end())[-1].event == "end"
    assert loop_time() - began <= HEARTBEAT_SECONDS + 1


@in_world(lambda: World().serving())
async def test_a_stream_of_an_instance_that_is_deleted_ends(world: World) -> None:
    id = world.add(7)
    reading = world.read(f"/instances/{id}/stream")
    await reading.until(1)
    del world.backend.instance_rows[id]
    assert (await reading.end())[-1] == Event("end", {"id": str(id)})
    answer = await world.client.call("GET", f"/v2/instances/{id}/stream", headers={"Last-Event-ID": "x.end"})
    assert answer.error == (404, "NOT_FOUND")


@in_world(lambda: World().serving())
async def test_what_does_not_exist_and_other_methods(world: World) -> None:
    for id in (UUID(int=9), "stream", "x"):
        answer = await world.client.call("GET", f"/v2/instances/{id}/stream")
        assert answer.error == (404, "NOT_FOUND")
    id = world.add(7)
    for path in (f"/v2/instances/{id}/stream", "/v2/instances/stream"):
        head = await world.client.call("HEAD", path)
        assert (head.status, head.body, head.complete) == (200, b"", True)
        assert head.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (await world.client.call("POST", path)).status == 405
    world.services.streams.check_room()


# A list


@in_world(lambda: World().serving())
async def test_a_list_tells_what_changes_from_its_beginning_on(world: World) -> None:
    first, second, third = (world.add(number) for number in (7, 8, 9))
    world.change(first)
    reading = world.read("/instances/stream")
    (begin,) = await reading.until(1)
    assert (begin.event, begin.data, begin.id) == ("open", {}, "1")
    world.announce(second, third)
    events = await reading.until(3)
    assert [(event.event, event.data, event.id) for event in events[1:]] == [
        ("instance", world.shown(second), None),  # the last one tells how far the stream is
        ("instance", world.shown(third), "2"),
    ]
    await reading.leave()


@in_world(lambda: World().serving())
async def test_filters(world: World) -> None:
    other = world.backend.add_workflow(UUID(int=2)).id
    mine, ended, theirs = world.add(7), world.add(8), world.add(9, other)
    running = world.read(f"/instances/stream?workflowID={world.workflow}&running=true")
    every = world.read(f"/instances/stream?workflowID={other}")
    await running.until(1)
    await every.until(1)
    world.end(ended)
    world.change(mine, theirs)
    assert [(event.event, event.data["id"]) for event in (await running.until(3))[1:]] == [
        ("left", str(ended)),
        ("instance", str(mine)),
    ]
    assert [(event.event, event.data["id"]) for event in (await every.until(2))[1:]] == [("instance", str(theirs))]
    await running.leave()
    await every.leave()


@in_world(lambda: World().serving())
async def test_a_list_of_a_key(world: World) -> None:
    mine, other, later = world.add(7), world.add(8), world.add(9)
    world.backend.keys = {mine: {"order-1"}, other: {"order-2"}}
    waiting = world.read("/instances/stream?key=%20Order-1&running=true")
    own = world.read(f"/instances/stream?key={str(other).upper()}")
    every = world.read("/instances/stream")
    for reading in (waiting, own, every):
        await reading.until(1)
    world.change(mine, other, later)
    await every.until(4)
    # With very many keys there are only few instances in a read.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub, "MAX_LOOK_UPS", 3)
        world.backend.keys[later] = {"order-1"}
        world.end(mine)
        world.change(other, later)
        await every.until(7)
    assert [call for call in world.backend.calls if call.startswith("read")] == ["read 3", "read 1", "read 1", "read 1"]
    told = [(event.event, event.data["id"]) for event in (await waiting.until(4))[1:]]
    assert told == [("instance", str(mine)), ("left", str(mine)), ("instance", str(later))]
    assert [event.data["id"] for event in (await own.until(3))[1:]] == 2 * [str(other)]
    for reading in (waiting, own, every):
        await reading.leave()
    answer = await world.client.call("GET", f"/v2/instances/stream?key={200 * 'x'}")
    assert answer.error == (400, "VALIDATION")


@in_world(lambda: World().serving())
async def test_a_list_goes_on_where_its_client_was(world: World) -> None:
    ids = [world.add(number) for number in range(7, 10)]
    reading = world.read("/instances/stream")
    (begin,) = await reading.until(1)
    await reading.leave()
    world.change(ids[0])
    world.change(ids[1])
    watching = world.read("/instances/stream")
    await watching.until(1)
    again = world.read("/instances/stream", last_event_id=begin.id or "")
    events = await again.until(2)
    assert [event.data["id"] for event in events] == [str(ids[0]), str(ids[1])]
    assert events[-1].id == "2"
    await asyncio.sleep(1)
    assert len(watching.events) == 1, "what one client has missed is sent to another"
    last = world.read("/instances/stream", last_event_id="2")
    await asyncio.sleep(1)
    assert last.events == []
    world.change(ids[2])
    assert [event.id for event in await last.until(1)] == ["3"]
    for each in (watching, again, last):
        await each.leave()


@pytest.mark.parametrize("mark", ["0", "5", "1.1", "x", "-1", "1e3", "²", "9" * 30, "1." * 9000, "a\\nb", " 1"])
def test_a_client_of_which_nobody_knows_what_it_has_missed_has_to_read_the_list(mark: str) -> None:
    async def test() -> None:
        async with World().serving() as world:
            world.backend.changes.connected({0: 1})
            reading = world.read("/instances/stream", last_event_id=mark)
            (event,) = await reading.until(1)
            assert (event.event, event.data, event.id) == ("reset", {}, "1")
            await reading.leave()

    simulate(test())


@in_world(lambda: World().serving())
async def test_announcements_that_were_missed(world: World) -> None:
    id, other = world.add(7), world.add(8)
    single, every = world.read(f"/instances/{id}/stream"), world.read("/instances/stream")
    await single.until(1)
    await every.until(1)
    world.change(id, announced=False)
    world.change(other)
    assert [event.event for event in await every.until(4)] == ["open", "reset", "instance", "instance"]
    assert (await single.until(2))[-1].data == world.shown(id)
    world.backend.changes.connected({0: world.offset})  # the connection was cut, and nothing was missed
    await asyncio.sleep(5)
    assert len(every.events) == 4
    world.change(id, announced=False)
    world.backend.changes.connected({0: world.offset})
    events = await every.until(6)
    assert [event.event for event in events[4:]] == ["reset", "instance"]
    assert events[5].id == str(world.offset)
    assert (await single.until(3))[-1].data == world.shown(id)
    await single.leave()
    await every.leave()


# Bounds


@in_world(lambda: World(max_streams=2).serving())
async def test_too_many_streams_are_refused_and_others_are_not(world: World) -> None:
    id = world.add(7)
    readings = [world.read(f"/instances/{id}/stream"), world.read("/instances/stream")]
    for reading in readings:
        await reading.until(1)
    for path in (f"/v2/instances/{id}/stream", "/v2/instances/stream"):
        answer = await world.client.call("GET", path)
        assert answer.error == (503, "INTERNAL")
        assert answer.headers["retry-after"] == "1"
    assert (await world.client.call("GET", f"/v2/instances/{id}")).status == 200
    await readings.pop().leave()
    readings.append(world.read("/instances/stream"))
    await readings[-1].until(1)
    for reading in readings:
        await reading.leave()


@in_world(lambda: World(max_waiting_requests=1).serving())
async def test_streams_take_no_place_of_other_requests(world: World) -> None:
    id = world.add(7)
    readings = [world.read(f"/instances/{id}/stream") for _ in range(3)]
    for reading in readings:
        await reading.until(1)
    assert (await world.client.call("GET", f"/v2/instances/{id}")).status == 200
    shown = (await world.client.call("GET", "/metrics", base="")).body.decode()
    assert 'orchestration_api_waiting_requests{kind="read"} 0.0' in shown
    path = "/api/orchestration/v2/instances/{instanceID}/stream"
    assert f'orchestration_api_requests_total{{method="GET",path="{path}",status="200"}} 3.0' in shown
    for reading in readings:
        await reading.leave()


@in_world(lambda: World().serving())
async def test_a_slow_client_of_a_list_costs_a_bounded_number_of_messages(world: World) -> None:
    ids = [world.add(number) for number in range(7, 7 + 1500)]
    reading = world.read("/instances/stream")
    await reading.until(1)
    reading.reads.clear()
    world.change(ids[0])
    await asyncio.sleep(1)  # it is stuck in this one
    for start in range(0, len(ids), 100):
        world.change(*ids[start : start + 100])
        await asyncio.sleep(1)
    reading.reads.set()
    await asyncio.sleep(1)
    told = [event.event for event in reading.events]
    assert told[:3] == ["open", "instance", "reset"]
    assert len(told) <= 3 + followers.MAX_MESSAGES
    await reading.leave()


def test_large_messages_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "MAX_MESSAGE_BYTES", 2_000)

    async def test() -> None:
        async with World().serving() as world:
            ids = [world.add(number) for number in range(7, 27)]
            reading = world.read("/instances/stream")
            await reading.until(1)
            world.change(*ids)
            await asyncio.sleep(1)
            assert [event.event for event in reading.events][:2] == ["open", "reset"]
            assert len(reading.body) < 4_000
            await reading.leave()

    simulate(test())


def test_more_changes_than_can_be_read_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MAX_PENDING", 10)

    async def test() -> None:
        async with World().serving() as world:
            ids = [world.add(number) for number in range(7, 27)]
            single, every = world.read(f"/instances/{ids[0]}/stream"), world.read("/instances/stream")
            await single.until(1)
            await every.until(1)
            world.change(*ids)
            assert (await every.until(2))[1].event == "reset"
            assert (await single.until(2))[1].data == world.shown(ids[0])
            await single.leave()
            await every.leave()

    simulate(test())


@in_world(lambda: World().serving())
async def test_a_client_that_reads_nothing_is_cut_off(world: World) -> None:
    id = world.add(7)
    reading = world.read(f"/instances/{id}/stream")
    await reading.until(1)
    reading.reads.clear()
    world.change(id)
    began = loop_time()
    async with asyncio.timeout(60):
        await reading.task
    assert loop_time() - began == pytest.approx(30, abs=1)
    assert not reading.complete


# Outages and ends


@in_world(lambda: World().serving())
async def test_while_the_read_model_is_away_streams_say_so_and_go_on(world: World) -> None:
    id = world.add(7)
    single, every = world.read(f"/instances/{id}/stream"), world.read("/instances/stream")
    await single.until(1)
    await every.until(1)
    world.backend.postgres_away = True
    world.change(id)
    for reading in (single, every):
        event = (await reading.until(2))[1]
        assert (event.event, event.data["errorCode"]) == ("unavailable", "INTERNAL")
        assert "secret" not in event.data["errorMessage"]
    await asyncio.sleep(20 * RETRY_SECONDS)
    assert len(single.events) == len(every.events) == 2, "an outage is told once"
    assert (await world.client.call("GET", f"/v2/instances/{id}/stream")).error == (503, "INTERNAL")
    world.backend.postgres_away = False
    for reading in (single, every):
        assert (await reading.until(3))[2].data == world.shown(id)
    world.backend.postgres_away = True
    world.change(id)
    assert (await single.until(4))[3].event == "unavailable"
    await single.leave()
    await every.leave()


@in_world(lambda: World().serving())
async def test_an_outage_in_which_nothing_changes_is_told_with_a_heartbeat(world: World) -> None:
    id = world.add(7)
    single, every = world.read(f"/instances/{id}/stream"), world.read("/instances/stream")
    await single.until(1)
    await every.until(1)
    world.backend.postgres_away = True
    assert (await single.until(2))[1].event == "unavailable"
    assert (await every.until(2))[1].event == "unavailable"
    assert loop_time() <= HEARTBEAT_SECONDS + 1
    await single.leave()
    await every.leave()


@in_world(lambda: World().serving())
async def test_a_stop_ends_all_streams_at_once_and_refuses_others(world: World) -> None:
    id = world.add(7)
    readings = [world.read(f"/instances/{id}/stream"), world.read("/instances/stream")]
    stuck = world.read("/instances/stream")
    for reading in (*readings, stuck):
        await reading.until(1)
    stuck.reads.clear()
    world.change(id)
    await asyncio.sleep(1)
    began = loop_time()
    world.stop.set()
    for reading in readings:
        await reading.end()
    assert loop_time() - began < PAUSE_SECONDS
    async with asyncio.timeout(60):
        await stuck.task
    assert loop_time() - began < 2
    assert (await world.client.call("GET", "/v2/instances/stream")).status == 503


@in_world(lambda: World().serving())
async def test_a_stream_that_begins_while_the_process_stops_ends(world: World) -> None:
    id = world.add(7)
    world.services.streams.stop()
    with pytest.raises(Unavailable):
        world.services.streams.check_room()
    follower = followers.InstanceFollower(id)
    with world.services.streams.following(follower):
        assert follower.has_ended


@in_world(lambda: World().serving())
async def test_a_connection_that_is_closed_leaves_nothing_behind(world: World) -> None:
    id = world.add(7)
    readings = [world.read(path) for path in (f"/instances/{id}/stream", "/instances/stream") * 3]
    for reading in readings:
        await reading.until(1)
    for reading in readings:
        await reading.leave()
    shown = (await world.client.call("GET", "/metrics", base="")).body.decode()
    world.backend.calls.clear()
    world.change(id)
    await asyncio.sleep(60)
    assert [call for call in world.backend.calls if call.startswith("read")] == []
    assert "orchestration_api_streams_refused_total 0.0" in shown


class Broken:
    """Reads rows, except for those that can't be shown."""

    def __init__(self, world: World):
        self._world = world

    async def read(self, ids: Any, keys: Any) -> Any:
        rows = self._world.backend.instance_rows
        return {id: FollowedInstance(None if id == UUID(int=8) else rows[id]) for id in ids}  # type: ignore[arg-type]

    async def close(self) -> None:
        pass


class Undecodable:
    """Reads rows as an older build does: one of them has what it does not know."""

    def __init__(self, world: World):
        self._world = world

    async def read(self, ids: Any, keys: Any) -> Any:
        if UUID(int=8) in ids:
            raise msgspec.ValidationError("not known yet")
        return {id: FollowedInstance(self._world.backend.instance_rows[id]) for id in ids}

    async def close(self) -> None:
        pass


@in_world(lambda: World().serving())
async def test_an_instance_that_cannot_be_read_does_not_stop_the_others(world: World) -> None:
    good, bad, other = world.add(7), world.add(8), world.add(9)
    world.services.streams._reader = Undecodable(world)
    reading, single = world.read("/instances/stream"), world.read(f"/instances/{good}/stream")
    await reading.until(1)
    await single.until(1)
    world.change(bad, good, other)
    told = (await reading.until(4))[1:]
    assert [event.event for event in told] == ["reset", "instance", "instance"], (
        "what could not be read is not passed over"
    )
    world.change(good)
    assert (await reading.until(5))[-1].data == world.shown(good)
    assert (await single.until(3))[-1].data == world.shown(good)
    await reading.leave()
    await single.leave()


class Held:
    """Reads rows, but the first read takes until it may end."""

    def __init__(self, world: World):
        self._world = world
        self.began, self.may_end = asyncio.Event(), asyncio.Event()

    async def read(self, ids: Any, keys: Any) -> Any:
        rows = {id: FollowedInstance(self._world.backend.instance_rows[id]) for id in ids}
        self.began.set()
        await self.may_end.wait()
        return rows

    async def close(self) -> None:
        pass


@in_world(lambda: World().serving())
async def test_an_instance_that_cannot_be_shown_does_not_stop_the_others(world: World) -> None:
    good, bad = world.add(7), world.add(8)
    world.services.streams._reader = Broken(world)
    reading = world.read("/instances/stream")
    await reading.until(1)
    world.change(bad, good)
    told = (await reading.until(3))[1:]
    assert [(event.event, event.data.get("id")) for event in told] == [("reset", None), ("instance", str(good))]
    await reading.leave()


class Refused:
    """Reads nothing: Postgres refuses."""

    def __init__(self, world: World):
        self._world = world
        self.reads = 0
        self.refuses = True

    async def read(self, ids: Any, keys: Any) -> Any:
        self.reads += 1
        if self.refuses:
            raise psycopg.ProgrammingError("refused")
        rows = self._world.backend.instance_rows
        return {id: FollowedInstance(rows[id]) for id in ids if id in rows}

    async def close(self) -> None:
        pass


def lines_of_streams(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "api.streams.hub"]


def test_while_postgres_refuses_every_read_one_line_is_logged_and_streams_say_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        async with World().serving() as world:
            ids = [world.add(number) for number in range(7, 207)]
            world.services.streams._reader = refused = Refused(world)
            every = world.read("/instances/stream")
            await every.until(1)
            world.change(*ids)
            assert (await every.until(2))[1].event == "unavailable"
            assert refused.reads <= MAX_FAILURES, "each instance is read on its own"
            await asyncio.sleep(100 * RETRY_SECONDS)
            (line,) = lines_of_streams(caplog)
            assert "refused" in line
            refused.refuses = False
            shown = [event.data["id"] for event in (await every.until(202))[2:]]
            assert shown == [str(id) for id in ids], "changes are lost"
            await every.leave()

    simulate(test())


def test_an_instance_that_cannot_be_read_is_told_once_and_so_is_its_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with World().serving() as world:
            bad = world.add(8)
            reading = world.read(f"/instances/{bad}/stream")
            await reading.until(1)
            world.services.streams._reader = Undecodable(world)
            world.change(bad)
            assert (await reading.until(2))[1].event == "unavailable"
            await asyncio.sleep(SILENCE_SECONDS / 2)
            (line,) = lines_of_streams(caplog)
            assert str(bad) in line
            await reading.leave()

    simulate(test())


# Going on behind what was shown


@in_world(lambda: World().serving())
async def test_a_client_that_comes_back_during_a_read_is_not_said_to_have_seen_what_it_missed(world: World) -> None:
    first, second = world.add(7), world.add(8)
    reading = world.read("/instances/stream")
    (begin,) = await reading.until(1)
    await reading.leave()
    world.change(first)  # while it is away
    held = Held(world)
    world.services.streams._reader = held
    watching = world.read("/instances/stream")
    await watching.until(1)
    world.change(second)
    await held.began.wait()
    again = world.read("/instances/stream", last_event_id=begin.id or "")
    await again.begin()
    held.may_end.set()
    (shown,) = await again.until(1)
    assert shown.data["id"] == str(second)
    await again.leave()  # before it is shown the other
    last = world.read("/instances/stream", last_event_id=shown.id or "")
    assert str(first) in {event.data["id"] for event in await last.until(1)}
    for each in (watching, last):
        await each.leave()


@in_world(lambda: World().serving())
async def test_a_client_that_comes_back_between_the_parts_of_an_announcement_misses_nothing(world: World) -> None:
    first, second = world.add(7), world.add(8)
    reading = world.read("/instances/stream")
    (begin,) = await reading.until(1)
    await reading.leave()
    world.change(first, announced=False)
    world.backend.changes.announced(Announcement(changed=[first], begins={0: 0}))
    again = world.read("/instances/stream", last_event_id=begin.id or "")
    await again.begin()
    await asyncio.sleep(1)
    world.backend.changes.announced(Announcement(positions={0: Passed(-1, 1)}))
    world.change(second)
    events = await again.until(2)
    assert [event.data["id"] for event in events] == [str(first), str(second)]
    assert events[-1].id == "2"
    await again.leave()


@in_world(lambda: World().serving())
async def test_a_heartbeat_is_not_ahead_of_what_came_in_the_same_moment(world: World) -> None:
    id = world.add(7)
    reading = world.read("/instances/stream")
    await reading.until(1)

    def show() -> None:
        for follower in world.services.streams._lists:
            follower.show(State(world.backend.instance_rows[id], render_instance))
            follower.moved("9")

    asyncio.get_running_loop().call_at(loop_time() + HEARTBEAT_SECONDS, show)
    await reading.until(2)
    told = read_events(reading.body)[1:]
    assert [(event.event, event.id) for event in told] == [("instance", "9")]
    await reading.leave()
