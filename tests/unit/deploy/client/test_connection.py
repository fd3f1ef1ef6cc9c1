"""The API over HTTP: repetitions, errors, pages."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from deploy.client.connection import PAUSES_SECONDS, Api
from deploy.client.errors import NotUnique, Refused, Unavailable
from deploy.client.names import instance_id, trigger_id, workflow_id
from deploy.client.profiles import Profile
from schemas.stack.answers import Answer
from schemas.stack.errors import NoAnswer

URL = "https://example.com/api"
ID = "6e0c0000-0000-4000-8000-000000000001"
Request = tuple[str, str, dict[str, str], bytes | None]


class World:
    """An API whose answers are told, and a clock that is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Answer | Exception | Callable[[str], Answer]):
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.pauses: list[float] = []
        self.api = Api(Profile(url=URL, token="t"), 60.0, self.sleep)
        monkeypatch.setattr(self.api._transport, "send", self.send)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def send(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        self.requests.append((method, url, dict(headers or {}), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(url) if callable(answer) else answer


def ok(data: object, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.encode({"data": data}))


def error(status: int, message: str) -> Answer:
    return Answer(status, msgspec.json.encode({"errorCode": "VALIDATION", "errorMessage": message}))


async def test_a_request_has_a_token_and_an_escaped_path(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, ok({"id": "x"}))
    assert await world.api.get("workflows", "a/b ?", name="é&") == {"id": "x"}
    ((method, url, headers, body),) = world.requests
    assert (method, url, body) == ("GET", f"{URL}/v2/workflows/a%2Fb%20%3F?name=%C3%A9%26", None)
    assert headers == {"Authorization": "Bearer t"}


async def test_a_post_is_repeated_with_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, NoAnswer("connection refused"), error(503, "no Kafka"), ok({"id": "x"}, 201))
    assert await world.api.post("workflows", body={"stages": []}) == {"id": "x"}
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in world.requests}
    assert (len(world.requests), len(keys)) == (3, 1)
    assert world.pauses == list(PAUSES_SECONDS[:2])
    await world.api.post("workflows", body={"stages": []}, key="mine")
    assert world.requests[-1][2]["Idempotency-Key"] == "mine" not in keys


async def test_a_put_is_repeated_with_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, error(503, "no Kafka"), Answer(204, b""))
    await world.api.put("instances", ID, "abort")
    assert [method for method, *_ in world.requests] == ["PUT", "PUT"]
    assert len({headers["Idempotency-Key"] for _, _, headers, _ in world.requests}) == 1


@pytest.mark.parametrize("first", [NoAnswer("reset"), error(503, "nobody knows whether this is carried out")])
async def test_what_is_gone_after_a_delete_without_an_answer_is_deleted(
    monkeypatch: pytest.MonkeyPatch, first: Answer | Exception
) -> None:
    await World(monkeypatch, first, error(404, "trigger not found")).api.delete("triggers", ID)
    with pytest.raises(Refused, match="trigger not found"):
        await World(monkeypatch, error(404, "trigger not found")).api.delete("triggers", ID)


async def test_a_reason_goes_with_what_may_change_something(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, ok({}))
    world.api = Api(Profile(url=URL), 60.0, world.sleep, reason="Zoë, 100 %: “now”")
    monkeypatch.setattr(world.api._transport, "send", world.send)
    await world.api.get("workflows")
    await world.api.post("workflows", body={})
    await world.api.put("x")
    await world.api.delete("x")
    sent = [headers.get("X-Reason") for _, _, headers, _ in world.requests]
    assert sent == [None, *["Zo%C3%AB, 100 %25: %E2%80%9Cnow%E2%80%9D"] * 3]


@pytest.mark.parametrize(
    ("answer", "told"),
    [(NoAnswer("connection refused"), "connection refused"), (error(503, "no Kafka"), "no Kafka")],
)
async def test_what_stays_away_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, answer: Answer | Exception, told: str
) -> None:
    world = World(monkeypatch, answer)
    with pytest.raises(Unavailable) as caught:
        await world.api.get("workflows", ID)
    assert (caught.value.message, caught.value.exit_code) == (f"{URL}: {told}", 4)
    assert len(world.requests) == len(PAUSES_SECONDS) + 1


async def test_an_answer_that_does_not_come_ends_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.api._timeout_seconds = 0.01

    async def hang(*arguments: object, **options: object) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(world.api._transport, "send", hang)
    with pytest.raises(Unavailable, match=r"did not answer within 0\.01 s"):
        await world.api.get("workflows", ID)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b'{"ok": true}',
        b'{"data": 1}',
        b'{"data": [1]}',
        b'{"data": {"data": [{"id": "x"}]}}',
        b'{"cursor": 1}',
        b'{"cursor": {"data": {"id": "x"}}}',
        b'{"cursor": {"data": [1]}}',
        b'{"cursor": {"data": [{"identifier": "x"}]}}',
    ],
)
async def test_answers_of_another_service(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    world = World(monkeypatch, Answer(200, body))
    with pytest.raises(Unavailable, match=r"is the base path in the URL|of this API"):
        [item["id"] async for item in world.api.pages("workflows")]
    with pytest.raises(Unavailable, match=r"is the base path in the URL|of this API"):
        (await world.api.get("workflows", ID))["id"]
    with pytest.raises(Unavailable, match=r"is the base path in the URL|of this API"):
        (await world.api.post("workflows", body={}))["id"]


async def test_a_redirection_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Answer(302, b""))
    with pytest.raises(Unavailable, match="HTTP 302, a redirection"):
        await world.api.get("workflows", ID)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (error(404, "workflow 'x' not found"), "workflow 'x' not found"),
        (error(400, "a\x1b[2Jb"), "ab"),
        (error(401, "a bearer token is required"), "a bearer token is required \\(401\\); give a token"),
        (Answer(401, b""), "^HTTP 401; give a token"),
        (Answer(413, b"too large"), "HTTP 413"),
        (Answer(404, b"<html>"), f"^{URL}: HTTP 404; is that the address of the API, with its base path?"),
        (error(404, "unknown path"), f"^{URL}: unknown path; is that the address of the API, with its base path?"),
        (error(404, "instance 'x' not found"), "^instance 'x' not found$"),
    ],
)
async def test_refusals_are_not_repeated(monkeypatch: pytest.MonkeyPatch, answer: Answer, told: str) -> None:
    world = World(monkeypatch, answer)
    with pytest.raises(Refused, match=told) as caught:
        await world.api.get("workflows", ID)
    assert (caught.value.exit_code, caught.value.status, len(world.requests)) == (3, answer.status, 1)


@pytest.mark.parametrize("answer", [Answer(200, b"<html>"), Answer(200, b"{}"), Answer(302, b""), Answer(500, b"")])
async def test_answers_of_something_else(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    with pytest.raises(Unavailable, match=URL):
        await World(monkeypatch, answer).api.get("workflows", ID)


def pages(names: list[str]) -> Callable[[str], Answer]:
    """Workflows and triggers of these names, two a page."""

    def answer(url: str) -> Answer:
        query = parse_qs(urlsplit(url).query)
        start = int(query.get("cursor", ["0"])[0])
        shown = [
            {"id": str(start + number), "name": name, "config": {"name": name}}
            for number, name in enumerate(names[start : start + 2])
        ]
        more = {"next": str(start + 2)} if start + 2 < len(names) else {}
        return Answer(200, msgspec.json.encode({"cursor": {"data": shown, **more}}))

    return answer


async def test_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, pages(["a", "b", "c", "d", "e"]))
    assert [item["name"] async for item in world.api.pages("triggers", name="x")] == ["a", "b", "c", "d", "e"]
    assert [url.rpartition("?")[2] for _, url, _, _ in world.requests] == [
        "name=x&pageSize=1000",
        "cursor=2",
        "cursor=4",
    ]
    assert [item["name"] async for item in world.api.pages("triggers", limit=3)] == ["a", "b", "c"]
    assert world.requests[3][1].endswith("pageSize=3")


@pytest.mark.parametrize("find", [workflow_id, trigger_id])
async def test_names_stand_for_ids(monkeypatch: pytest.MonkeyPatch, find: Any) -> None:
    world = World(monkeypatch, pages(["a", "b", "payout", "b", "payouts"]))
    assert await find(world.api, ID.upper()) == ID
    assert world.requests == []
    assert await find(world.api, "payout") == "2"
    with pytest.raises(NotUnique, match=r'2 (workflow|trigger)s have the name "b": give one of the ids 1, 3'):
        await find(world.api, "b")
    with pytest.raises(Refused, match=r'no (workflow|trigger) has the id or name "Payout"'):
        await find(world.api, "Payout")


def test_instances_have_no_names() -> None:
    assert instance_id(ID.upper()) == ID
    with pytest.raises(Refused, match='"payout" is not the id of an instance'):
        instance_id("payout")


async def test_client_credentials_get_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    granted = Answer(200, b'{"access_token": "made", "token_type": "bearer", "expires_in": 60}')
    world = World(monkeypatch, granted, ok({}))
    profile = Profile(url=URL, client_id="me", client_secret="s", token_url="https://example.com/token")
    async with Api(profile, 60.0, world.sleep) as api:
        monkeypatch.setattr(api._transport, "send", world.send)
        await api.get("workflows", ID)
        await api.get("workflows", ID)
    asked = [(method, url, headers["Authorization"]) for method, url, headers, _ in world.requests]
    assert asked[0][:2] == ("POST", "https://example.com/token")
    assert asked[1:] == [("GET", f"{URL}/v2/workflows/{ID}", "Bearer made")] * 2


async def test_credentials_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Answer(401, b'{"error": "invalid_client"}'))
    profile = Profile(url=URL, client_id="me", client_secret="s", token_url="https://example.com/token")
    async with Api(profile, 60.0, world.sleep) as api:
        monkeypatch.setattr(api._transport, "send", world.send)
        with pytest.raises(Unavailable, match="no access token: HTTP 401 invalid_client"):
            await api.get("workflows", ID)
