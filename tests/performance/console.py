"""`python -m tests.performance console`: how long the pages of the console take among a million instances.

Starts a fresh installation as `orchestration dev` does and fills its Postgres: instances as `search` does, the counts
of what happened as `stats` does, and a trigger that has fired 100,000 times. Then asks the API as each page does when
it is opened: what a page asks for at once goes out at once, and what depends on an answer comes after it. Prints how
long a page takes until it has everything.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import msgspec
import psycopg
from psycopg import sql

from deploy.bench.figures import Figures
from deploy.embedded.postgres import SETTINGS
from deploy.installation import Installation, Options
from projections.database import conninfo
from projections.states import STATES
from schemas.settings import ApiSettings
from tests.performance import search, stats
from tests.performance.figures import print_table

OCCURRENCES: Final = 100_000
TRIGGER: Final = """
INSERT INTO triggers (id, name, folded_name, event, workflow_id, created_at)
SELECT md5('trigger')::uuid, 'payins', 'payins', 'SAVED_PAYMENT', md5('w0')::uuid, now();
INSERT INTO occurrences (id, trigger_id, date, workflow_instance_id, event)
SELECT md5('o' || n)::uuid, md5('trigger')::uuid, now() - n * interval '1 s', md5('i' || n)::uuid,
       '{{"type":"SAVED_PAYMENT","payload":{{}}}}'
FROM generate_series(1, {occurrences}) n;
INSERT INTO counts SELECT state, -1, -1, workflow_id, 0, 0, count(*) FROM instances GROUP BY state, workflow_id;
ANALYZE
"""
PAGE: Final = 25
"""Rows of a page, as `data/resources.js` asks for them."""
MAX_READS: Final = 8
"""As `data/finding.js` reads on."""

Json = Any


class Pages:
    """What the pages ask for.

    Args:
        session: of HTTP.
        url: of the API.
        count: how many instances there are.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, count: int):
        self._session, self._url, self._count = session, url, count
        self.chance = random.Random(1)

    async def get(self, path: str, **query: Any) -> Json:
        """Ask for something."""
        text = urlencode({name: value for name, value in query.items() if value}, doseq=True)
        async with self._session.get(f"{self._url}/v2/{path}?{text}") as answer:
            assert answer.status in (200, 404), (path, answer.status, await answer.text())
            return msgspec.json.decode(await answer.read())

    async def post(self, path: str, body: Json) -> Json:
        """Ask for something with a body."""
        async with self._session.post(f"{self._url}/v2/{path}", json=body) as answer:
            assert answer.status == 200, (path, answer.status, await answer.text())
            return msgspec.json.decode(await answer.read())

    async def list(self, **query: Any) -> Json:
        """A page of instances; one that ends before it is full is read on."""
        page = (await self.get("instances", pageSize=PAGE, **query))["cursor"]
        for _ in range(MAX_READS - 1):
            if not page["hasMore"] or len(page["data"]) >= PAGE:
                break
            more = (await self.get("instances", cursor=page["next"]))["cursor"]
            page = {**more, "data": page["data"] + more["data"]}
        return page

    async def search(self, **query: Any) -> None:
        """The search with filters."""
        workflows, counts = self.get("workflows", pageSize=200), self.get("stats", **since(1), step="hour")
        await asyncio.gather(workflows, counts, self.list(**query))

    async def found(self, text: str) -> None:
        """The search for a text: a key, else a part of an error."""

        async def find() -> None:
            if not (await self.list(key=text))["data"]:
                await self.list(error=text)

        await asyncio.gather(self.get("workflows", pageSize=200), find())

    async def older(self) -> None:
        """A later page of the search."""
        page = await self.list()
        for _ in range(3):
            page = (await self.get("instances", cursor=page["next"]))["cursor"]

    async def instance(self) -> None:
        """An instance with its history."""
        id = await self.some_id()
        await self.get(f"instances/{id}")
        history = (await self.get(f"instances/{id}/history"))["data"]
        await asyncio.gather(*(self.get(f"instances/{id}/stages/{stage['stage']}/history") for stage in history))

    async def some_id(self) -> str:
        """The id of any instance."""
        page = await self.get("instances", key=f"order-{self.chance.randrange(self._count)}")
        id: str = page["cursor"]["data"][0]["id"]
        return id

    async def workflow(self) -> None:
        """A workflow with its statistics and last instances."""
        id = str(search._workflow(self.chance))
        workflow = (await self.get(f"workflows/{id}"))["data"]
        await asyncio.gather(
            self.post("workflows/validate", {"stages": workflow["config"]["stages"]}),
            self.get("stats", workflowID=id, **since(24), step="hour"),
            self.get("instances", workflowID=id, pageSize=10),
        )

    async def overview(self, hours: int = 24, step: str = "hour") -> None:
        """The overview of a period."""

        async def counts() -> None:
            oldest = (await self.get("stats", **since(hours), step=step))["data"]["oldest"]
            await asyncio.gather(*(self.get(f"workflows/{one['workflowID']}") for one in oldest))

        paused = self.get("instances", state="paused", pageSize=8)
        failed = self.get("instances", state="failed", pageSize=8)
        await asyncio.gather(counts(), paused, failed)

    async def trigger(self) -> None:
        """A trigger with what came of messages."""
        (trigger,) = (await self.get("triggers", pageSize=PAGE))["cursor"]["data"]
        await asyncio.gather(
            self.get(f"triggers/{trigger['id']}"), self.get(f"triggers/{trigger['id']}/occurrences", pageSize=PAGE)
        )

    async def bulk(self, **filters: Any) -> None:
        """The dry run of a bulk action."""
        await self.post("instances/bulk", {"action": "abort", "filter": filters, "dryRun": True})


def since(hours: int) -> dict[str, str]:
    """The beginning of a period that ends now."""
    return {"from": (datetime.now(UTC) - timedelta(hours=hours)).isoformat().replace("+00:00", "Z")}


def pages_of(pages: Pages, count: int) -> dict[str, Callable[[], Awaitable[None]]]:
    """Each page by its name."""
    chance = pages.chance
    return {
        "search": pages.search,
        "search, a state": lambda: pages.search(state=chance.choice(STATES)),
        "search, a workflow and state": lambda: pages.search(
            workflowID=str(search._workflow(chance)), state=chance.choice(STATES)
        ),
        "search, last hour, failed": lambda: pages.search(createdAfter=since(1)["from"], state="failed"),
        "search, last 30 days, paused": lambda: pages.search(createdAfter=since(720)["from"], state="paused"),
        "search, fourth page": pages.older,
        "search, an order": lambda: pages.found(f"order-{chance.randrange(count)}"),
        "search, an account": lambda: pages.found(f"users:{chance.randrange(count)}"),
        "search, an error of many": lambda: pages.found("insufficient"),
        "search, an error of one": lambda: pages.found(f"(users:{chance.randrange(min(count, 1_000_000))})"),
        "search, what is nowhere": lambda: pages.found(f"no such thing {chance.random()}"),
        "instance": pages.instance,
        "workflow": pages.workflow,
        "overview, 24 hours": pages.overview,
        "overview, 7 days": lambda: pages.overview(7 * 24),
        "overview, 30 days": lambda: pages.overview(30 * 24, "day"),
        "trigger": pages.trigger,
        "bulk actions": lambda: pages.get("bulk", pageSize=PAGE),
        "bulk action, dry run, a state": lambda: pages.bulk(state=["waiting"]),
        "bulk action, dry run, an error": lambda: pages.bulk(error="insufficient"),
    }


async def measure(url: str, count: int, rounds: int) -> None:
    """Ask for each page and print how long it took."""
    figures: list[Figures] = []
    async with aiohttp.ClientSession() as session:
        for name, page in pages_of(Pages(session, url, count), count).items():
            took: list[float] = []
            for _ in range(rounds):
                began = time.perf_counter()
                await page()
                took.append(time.perf_counter() - began)
            figures.append(Figures(name, took[rounds // 10 :], sum(took)))
    print_table(figures)


def fill(settings: ApiSettings, count: int) -> None:
    """Fill Postgres."""
    search.fill(settings, count, datetime.now(UTC) - timedelta(days=search.DAYS))
    with psycopg.connect(conninfo(settings, "fill"), autocommit=True) as connection:
        connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(settings.database_schema)))
        connection.execute(stats.FILL.format(**stats.happened(count, 2)).encode())
        connection.execute(TRIGGER.format(occurrences=OCCURRENCES).encode())


def run(options: argparse.Namespace) -> None:
    """Run it."""
    SETTINGS.update(search.MEMORY)
    with tempfile.TemporaryDirectory() as folder:
        settings = Options(port=0, data_dir=Path(folder), quiet=True, train=False)
        with Installation(settings) as installation:
            fill(ApiSettings(database_url=installation.database_url), options.instances)
            asyncio.run(measure(installation.url, options.instances, options.rounds))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command line."""
    parser.add_argument("--instances", type=int, default=1_000_000, help="how many are filled in")
    parser.add_argument("--rounds", type=int, default=50, help="how often each page is asked for")
