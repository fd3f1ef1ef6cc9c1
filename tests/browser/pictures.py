"""`python -m tests.browser.pictures FOLDER`: every page of the console as a picture, to be looked at.

Runs everything on this machine with the sandbox, lets payments succeed, wait, fail and pause, and takes each page in
light, dark and on a phone. With `--docs`, it makes the pictures of the README as well.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from selenium.webdriver import Chrome

from deploy.installation import Installation, Options
from schemas.settings import variable
from tests.browser.conftest import chromium
from tests.browser.finding import found
from tests.browser.page import Page
from tests.integration.waiting import eventually

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "deploy" / "examples"
IMAGES: Final = ROOT / "docs" / "images"
TOPIC: Final = "payments.events"
IDS: Final = "ids.json"
"""What there is to see, in the folder of the pictures."""

LOOKS: Final = {"light": (False, 1280), "dark": (True, 1280), "phone": (False, 390), "phone-dark": (True, 390)}
"""By name: whether it is dark, and how wide."""
HEIGHT: Final = 800
DOCS: Final = {"retrying": "instance.png", "search": "search.png"}
"""By place, the pictures of the README."""
DOCS_WIDTH, DOCS_HEIGHT = 1000, 760

Publish = Callable[[Any], Awaitable[None]]
"""Appends a message of the payments service."""

REFUND: Final = {
    "name": "refund",
    "activityMaxAttempts": 2,
    "stages": [
        {
            "send": {
                "source": {"account": {"id": "shops:${shop}"}},
                "destination": {"account": {"id": "buyers:${buyer}"}},
                "amount": {"amount": "${amount}", "asset": "USD/2"},
            }
        }
    ],
}


class Seeds:
    """What there is to see.

    Args:
        session: of HTTP.
        url: of the API.
        sandbox_url: of the sandbox.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, sandbox_url: str):
        self._session, self._url, self._sandbox_url = session, url, sandbox_url

    async def api(self, method: str, path: str, body: Any = None, reason: str = "") -> Any:
        return await self._call(method, f"{self._url}/v2{path}", body, {"x-reason": quote(reason)} if reason else {})

    async def sandbox(self, path: str, body: Any, method: str = "POST") -> Any:
        return await self._call(method, f"{self._sandbox_url}{path}", body, {})

    async def _call(self, method: str, url: str, body: Any, headers: dict[str, str]) -> Any:
        text = isinstance(body, str)
        headers = {**headers, "content-type": "application/yaml" if text else "application/json"}
        data = body.encode() if text else (None if body is None else msgspec.json.encode(body))
        async with self._session.request(method, url, data=data, headers=headers) as answer:
            answer.raise_for_status()
            read = await answer.read()
            return msgspec.json.decode(read).get("data") if read else None

    async def workflow(self, definition: Any) -> str:
        id: str = (await self.api("POST", "/workflows", definition))["id"]
        return id

    async def run(self, workflow: str, reason: str = "", **variables: str) -> str:
        id: str = (await self.api("POST", f"/workflows/{workflow}/instances", variables, reason))["id"]
        return id

    async def money(self, account: str, amount: int, asset: str) -> None:
        posting = {"source": "world", "destination": account, "amount": amount, "asset": asset}
        await self.sandbox("/api/ledger/v2/default/transactions", {"postings": [posting]})

    async def until(self, id: str, state: str) -> None:
        await eventually(lambda: self.api("GET", f"/instances/{id}"), lambda instance: instance["state"] == state)

    async def plant(self, publish: Publish) -> dict[str, str]:
        """Everything; returns the ids that places name."""
        wallets = {}
        for name in ("alice", "bob", "carol"):
            given = {"name": name, "metadata": {"bankAccount": f"{name}-at-the-bank"}}
            wallets[name] = (await self.sandbox("/api/wallets/wallets", given))["id"]
        for number in range(1, 25):
            payment = {"id": f"pay-{number}", "asset": "EUR/2", "initialAmount": 1990 + 10 * number}
            await self.sandbox("/sandbox/payments", payment)
        for order in ("B-8", "B-9"):
            await self.money(f"orders:{order}", 10_000, "EUR/2")
        payout = await self.workflow((EXAMPLES / "payout.yaml").read_text())
        reserve = await self.workflow((EXAMPLES / "reserve.yaml").read_text())
        refund = await self.workflow(REFUND)
        approval = await self.workflow((EXAMPLES / "approval.yaml").read_text())

        done = [
            await self.run(
                payout, payment=f"pay-{n}", wallet=wallets["alice" if n % 2 else "carol"], order=f"A-{1000 + n}"
            )
            for n in range(1, 10)
        ]
        for id in done:
            await self.until(id, "waiting")
            await self.api("POST", f"/instances/{id}/events", {"name": "approved"}, "checked by the back office")
        aborted = await self.run(payout, payment="pay-20", wallet=wallets["bob"], order="A-1019")
        await self.until(aborted, "waiting")
        await self.api("PUT", f"/instances/{aborted}/abort", None, "the customer has cancelled the order")
        failed = await self.run(payout, payment="pay-10", wallet="5cd71fe2-b400-473a-a7be-9a62516c5cf0", order="A-1010")
        await self.until(failed, "failed")
        await self.api("POST", f"/instances/{failed}/retry", None, "the wallet was created this morning")
        await self.until(failed, "failed")
        gone = await self.run(refund, shop="s-17", buyer="dora")
        await self.until(gone, "failed")
        await self.run(reserve, order="B-8", seller="carol", now="8000", later="2000")
        paused = await self.run(refund, shop="s-17", buyer="dora", amount="123456789012")
        await self.until(paused, "paused")
        trigger = await self.trigger(payout, wallets["bob"], publish)
        waiting = await self.run(
            payout, "a call from the shop", payment="pay-12", wallet=wallets["bob"], order="A-1012"
        )
        retrying = await self.run(reserve, order="B-7", seller="bob", now="8000", later="2000")
        await self.run(approval)
        await self.until(retrying, "retrying")
        for id in done:
            await self.until(id, "succeeded")
        return {
            "waiting": waiting, "retrying": retrying, "paused": paused, "failed": failed, "done": done[0],
            "aborted": aborted, "payout": payout, "refund": refund, "trigger": trigger,
        }  # fmt: skip

    async def trigger(self, workflow: str, wallet: str, publish: Publish) -> str:
        given = {
            "name": "card payments",
            "event": "SAVED_PAYMENT",
            "workflowID": workflow,
            "filter": 'event.status == "SUCCEEDED" && event.scheme != "test"',
            "vars": {"payment": "event.id", "order": "event.reference", "wallet": f'"{wallet}"'},
        }
        id: str = (await self.api("POST", "/triggers", given))["id"]
        await publish({"id": "pay-15", "status": "SUCCEEDED", "reference": "A-1015", "scheme": "visa", "amount": 2140})
        await publish({"id": "pay-16", "status": "SUCCEEDED", "scheme": "visa", "amount": 2150})
        await publish({"id": "pay-17", "status": "SUCCEEDED", "reference": "A-1017", "scheme": "sepa", "amount": 2160})
        path = f"{self._url}/triggers/{id}/occurrences"
        await eventually(lambda: self._call("GET", path, None, {}), lambda shown: len(shown or []) == 3)
        return id


PLACES: Final = {
    "search": "",
    "found": "#/search?q=A-1012",
    "nothing": "#/search?q=no+such+thing",
    "waiting": "#/instances/{waiting}",
    "retrying": "#/instances/{retrying}",
    "paused": "#/instances/{paused}",
    "failed": "#/instances/{failed}",
    "succeeded": "#/instances/{done}",
    "aborted": "#/instances/{aborted}",
    "overview": "#/overview",
    "workflows": "#/workflows",
    "workflow": "#/workflows/{payout}",
    "editor": "#/workflows/new?from={payout}",
    "triggers": "#/triggers",
    "trigger": "#/triggers/{trigger}",
    "bulks": "#/bulk",
    "log": "#/instances/{failed}",
    "step": "#/instances/{waiting}",
    "abort": "#/instances/{waiting}",
    "bulk": "#/search?state=waiting",
    "finding": "#/workflows/new",
    "tested": "#/triggers/{trigger}",
}
"""By name of the picture."""


def act(page: Page, place: str) -> None:
    """What a person does before the picture is taken."""
    match place:
        case "editor":
            page.sees("No errors.")
        case "log":
            page.press("Event log")
            page.sees("records.")
        case "step":
            page.press("Credit the wallet")
            page.sees("Output")
        case "abort":
            page.press("Abort")
            page.write("Reason", "the customer has cancelled the order")
        case "bulk":
            page.press("Act on all of them")
            page.press("Show what it would do")
            page.sees("Nothing has happened yet.")
        case "finding":
            page.write("Definition in YAML", "name: payout\nstages:\n- wait_event: {evnt: approved}\n")
            page.sees("1 error")
        case "tested":
            page.press("Test with it")
            page.press("Test")
            page.sees("It would start the workflow.")


def take(driver: Chrome, console: str, ids: dict[str, str], folder: Path, places: list[str], looks: list[str]) -> None:
    """Take pictures.

    Args:
        driver: of the browser.
        console: its address, with `/` at the end.
        ids: what places name.
        folder: where they go.
        places: which pages.
        looks: and how.
    """
    page = Page(driver, console)
    for place in places:
        page.open(PLACES[place].format(**ids))
        page.until(lambda: driver.execute_script("return !document.querySelector('.loading')"), place)
        act(page, place)
        for look in looks:
            dark, width = LOOKS[look]
            page.shown_as(dark=dark, width=width, height=HEIGHT)
            page.picture(folder / f"{place}-{look}.png")
        page.shown_as()


def take_docs(driver: Chrome, console: str, ids: dict[str, str]) -> None:
    """Make the pictures of the README: the upper part of a page."""
    page = Page(driver, console)
    for place, name in DOCS.items():
        page.shown_as(width=DOCS_WIDTH, height=DOCS_HEIGHT)
        page.open(PLACES[place].format(**ids))
        page.until(lambda: driver.execute_script("return !document.querySelector('.loading')"), place)
        driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": 0, "y": 0})
        page.picture(IMAGES / name, whole=False)


@contextmanager
def running(console: str | None, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The console's address, and the ids that places name.

    Args:
        console: the address of an installation of before that still runs; without it, one is started and filled.
        folder: where the ids of that one are.
    """
    kept = folder / IDS
    if console is not None:
        yield console, msgspec.json.decode(kept.read_bytes(), type=dict[str, str])
        return
    os.environ[variable("trigger_topics")] = TOPIC
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = Options(port=0, data_dir=data, sandbox=True, quiet=True, train=False)
        installation = stack.enter_context(Installation(options))
        ids = asyncio.run(planted(installation))
        kept.write_bytes(msgspec.json.encode(ids))
        yield installation.console_url, ids


async def planted(installation: Installation) -> dict[str, str]:
    """Fill an installation; returns the ids that places name."""
    admin = AIOKafkaAdminClient(bootstrap_servers=installation.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, 1, 1)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=installation.kafka_bootstrap_servers)
    await producer.start()

    async def publish(payload: Any) -> None:
        envelope = {"date": "2026-03-01T10:00:00Z", "app": "payments", "version": "v3", "type": "SAVED_PAYMENT"}
        await producer.send_and_wait(TOPIC, msgspec.json.encode({**envelope, "payload": payload}))

    try:
        async with aiohttp.ClientSession() as session:
            return await Seeds(session, installation.url, installation.sandbox_url).plant(publish)
    finally:
        await producer.stop()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--place", action="append", choices=PLACES, help="only these")
    parser.add_argument("--look", action="append", choices=LOOKS, help="only these")
    parser.add_argument("--docs", action="store_true", help="make the pictures of the README, too")
    parser.add_argument("--console", help="of an installation that this has filled and that still runs")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    place = found()
    if place is None:
        parser.error("there is no Chromium with its driver on this machine")
    with running(given.console, given.folder) as (console, ids):
        driver = chromium(*place)
        try:
            take(driver, console, ids, given.folder, given.place or list(PLACES), given.look or list(LOOKS))
            if given.docs:
                take_docs(driver, console, ids)
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
