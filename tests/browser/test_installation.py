"""The console on a real installation: what happens is seen at once, by live streams."""

import asyncio
import re

from selenium import webdriver

from tests.browser.page import Page
from tests.integration.http_client import Client
from tests.integration.installation import Installation
from tests.integration.waiting import eventually

WAITS = {"name": "to be approved", "stages": [{"wait_event": {"event": "approved"}}, {"noop": {}}]}


async def test_what_somebody_else_does_is_seen_at_once(installation: Installation, driver: webdriver.Chrome) -> None:
    client = installation.client()
    workflow = (await client.post("/v2/workflows", WAITS)).data["id"]
    instance = (await client.post(f"/v2/workflows/{workflow}/instances", {"order": "A-77"})).data["id"]
    page = Page(driver, f"{client.base_url}/console/")
    page.shown_as()
    await asyncio.to_thread(page.open, f"#/instances/{instance}", wait="Waiting for the event approved since")
    await eventually(lambda: is_followed(client))
    await client.post(f"/v2/instances/{instance}/events", {"name": "approved"})
    await asyncio.to_thread(page.sees, "All stages are done")
    await asyncio.to_thread(page.press, "Event log")
    for text in ("InstanceStarted", "EventReceived", "InstanceEnded", "records."):
        await asyncio.to_thread(page.sees, text)
    await asyncio.to_thread(driver.get, "about:blank")


async def is_followed(client: Client) -> bool:
    """Whether a stream of an instance is open."""
    metrics = (await Client(client._session, client.url, "").get("/metrics")).body.decode()
    return re.search(r'^orchestration_api_streams\{kind="instance"\} [1-9]', metrics, re.MULTILINE) is not None
