"""What holds of every page of the console: keys alone, screen readers, phones, prefixes, strangers, outages."""

from uuid import UUID, uuid4

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from starlette.responses import PlainTextResponse

from schemas.commands import (
    CreateWorkflow,
    RunWorkflow,
    StartBulk,
)
from tests.browser.page import Page, other
from tests.browser.site import Switch, behind, served
from tests.browser.stories import HOSTILE, KINDS, PLACES, WHY_IT_WAITS, Stories, commands
from tests.unit.api.fakes import Backend, make_client


def test_while_postgres_is_away_each_page_says_so_and_comes_back(
    page: Page, backend: Backend, stories: Stories, everything: dict[str, object]
) -> None:
    for place in KINDS:
        page.open(place.format(**everything))
        page.until(lambda: not page.all(".loading"), place)
        if "new" in place:
            continue  # it reads nothing of Postgres
        shown = page.one("main h1").text
        backend.postgres_away = True
        page.sees("the read model is unavailable. You see what was known at")
        assert page.one("main h1").text == shown
        assert not page.all(".loading")
        backend.postgres_away = False
        page.misses("You see what was known at")
    backend.end(UUID(str(everything["waiting"])))
    page.open("#/instances/{waiting}".format(**everything), wait="Succeeded")
    assert other(page.complaints(), 503) == []


def test_while_the_api_is_away_pages_say_so_and_come_back(
    page: Page, site: tuple[Switch, str], backend: Backend, stories: Stories
) -> None:
    switch, _ = site
    page.open(f"#/instances/{stories.waiting()}", wait=WHY_IT_WAITS)
    there, switch.app = switch.app, PlainTextResponse("bad gateway", 502)
    page.sees("The server answered 502. You see what was known at")
    page.visit("#/workflows/new")
    page.sees("That did not work: The server answered 502")
    switch.app = there
    page.sees("No errors.")
    page.misses("The server answered 502")
    assert other(page.complaints(), 502) == []


def test_a_page_that_is_opened_while_postgres_is_away_comes(page: Page, backend: Backend, stories: Stories) -> None:
    id = stories.waiting()
    backend.postgres_away = True
    page.open(f"#/instances/{id}", wait="the read model is unavailable.")
    backend.postgres_away = False
    page.sees(WHY_IT_WAITS)
    assert other(page.complaints(), 503) == []


def test_everything_can_be_reached_with_the_keyboard(page: Page, backend: Backend, stories: Stories) -> None:
    id = stories.waiting()
    page.open(wait="approved since")
    page.keys("/")
    page.until(lambda: page.is_focused("Find an instance"))
    page.keys(str(id), Keys.ENTER)
    page.sees(WHY_IT_WAITS)
    page.tab_to("Send event")
    page.keys(Keys.ENTER)
    page.sees("Send an event")
    for _ in range(12):  # the focus stays in the dialog, or in the browser's own bar
        page.keys(Keys.TAB)
        assert page.driver.execute_script(
            "return document.activeElement.closest('dialog') !== null || document.activeElement === document.body"
        )
    page.keys(Keys.ESCAPE)
    page.until(lambda: page.is_focused("Send event") and not page.all("dialog"), "the button that was pressed")
    page.tab_to("Wait for the event approved")
    page.keys(Keys.SPACE)
    page.sees("As written in the workflow")
    assert backend.commands == []


def test_what_strangers_write_is_shown_as_text(page: Page, backend: Backend, stories: Stories) -> None:
    workflow = stories.workflow(HOSTILE, [{"wait_event": {"event": HOSTILE}}, {"noop": {}}])
    failed = stories.failed(HOSTILE, workflow)
    waiting = stories.waiting(workflow, {"order": HOSTILE, HOSTILE: "x"})
    trigger = stories.trigger(workflow, HOSTILE)
    places = (
        "", f"#/search?q={HOSTILE}", f"#/instances/{failed}", f"#/instances/{waiting}", f"#/instances/{HOSTILE}",
        "#/workflows", f"#/workflows/{workflow.id}", f"#/workflows/new?from={workflow.id}",
        "#/triggers", f"#/triggers/{trigger.id}",
    )  # fmt: skip
    page.open("#/overview")
    for place in places:
        page.visit(place or "#/")
        page.until(lambda: page.driver.execute_script("return !document.querySelector('.loading')"), place)
        page.driver.execute_script("document.querySelectorAll('.step-name, summary').forEach((one) => one.click())")
        if "new?" not in place and HOSTILE not in place:
            page.sees("<img src=x onerror=")
        found = page.driver.execute_script(
            "return [document.querySelectorAll('main img, main script, body > img').length, document.title]"
        )
        assert found[0] == 0, place
        assert found[1] != "1", place
    assert other(page.complaints(), 404) == []


@pytest.mark.parametrize(("prefix", "base_path"), [("", "/api/orchestration"), ("/pay/gate", "/orchestration")])
def test_it_works_behind_any_prefix(
    driver: webdriver.Chrome, backend: Backend, stories: Stories, prefix: str, base_path: str
) -> None:
    """The first one is that of the compose file, whose gateway passes on what begins with it and nothing else."""
    id = stories.waiting()
    app = behind(prefix, make_client(backend, base_path=base_path).app, only=base_path)
    with served(app) as address:
        page = Page(driver, f"{address}{prefix}{base_path}/console")
        page.load()
        assert page.driver.current_url == f"{address}{prefix}{base_path}/console/"
        page.sees("12.50 EUR")
        page.visit(f"#/instances/{id}")
        page.sees(WHY_IT_WAITS)
        driver.get("about:blank")


OPEN_ALL = "document.querySelectorAll('.step-name, summary').forEach((one) => one.click())"

TABBABLE = """
const reached = window.reached = new Set();
addEventListener("focusin", (event) => reached.add(event.target));
document.activeElement.blur();
const kinds = "a[href], button, input, select, textarea, summary, [tabindex='0']";
window.wanted = () => [...document.querySelectorAll(kinds)]
  .filter((one) => one.checkVisibility() && !one.disabled);
"""
COUNT = "return wanted().length"
MISSED = """
return wanted().filter((one) => !reached.has(one)).map((one) => one.outerHTML.slice(0, 200));
"""


def missed(page: Page) -> list[str]:
    """What Tab has not reached after one more round. The log that is being read may have more by then."""
    page.keys(Keys.TAB * (page.driver.execute_script(COUNT) + 2))
    return list(page.driver.execute_script(MISSED))


@pytest.mark.parametrize("place", PLACES)
def test_axe_finds_nothing_the_keyboard_reaches_all_and_a_phone_shows_it(
    page: Page, everything: dict[str, object], place: str
) -> None:
    page.open(place.format(**everything))
    page.until(lambda: not page.all(".loading"), place)
    page.driver.execute_script(OPEN_ALL)
    page.until(lambda: "Reading the log" not in page.text)
    assert page.violations() == []
    page.driver.execute_script(TABBABLE)
    page.until(lambda: missed(page) == [], "Tab reaches all")
    page.shown_as(dark=True, width=360)
    assert page.violations("color-contrast") == []
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 360


def test_pages_are_worked_with_keys_alone(page: Page, backend: Backend, stories: Stories) -> None:
    workflow = stories.workflow()
    stories.waiting(workflow)
    stories.failed()
    trigger = stories.trigger(workflow)
    backend.ends_at_once = False
    page.open(wait="approved since")
    page.tab_to("Failed")
    page.keys(Keys.SPACE)
    page.misses("approved since")
    page.tab_to("payout 12.50 EUR")
    page.keys(Keys.ENTER)
    page.sees("It has failed at")
    page.visit(f"#/workflows/{workflow.id}")
    page.sees("Run it")
    page.tab_to("order needed")
    page.keys("B-7", Keys.TAB, "w-bob", Keys.ENTER)
    page.sees("There is no instance with this id")  # this backend has no history of it
    assert len(commands(backend, RunWorkflow)) == 1
    page.visit("#/workflows/new")
    page.sees("No errors.")
    page.tab_to("Definition in YAML")
    page.keys(Keys.CONTROL, "a")
    page.keys("name: refund\nstages:\n- noop: {}\n", Keys.TAB, "for Ada", Keys.ENTER)
    page.sees("Run it")
    [created] = commands(backend, CreateWorkflow)
    assert (created.name, created.reason) == ("refund", "for Ada")
    page.visit(f"#/triggers/{trigger.id}")
    page.sees("Test with a message")
    page.tab_to("Message")
    page.keys('{"status": "SUCCEEDED"}', Keys.TAB, Keys.ENTER)
    page.sees("It would start the workflow.")
    page.visit(f"#/search?state=waiting&workflow={workflow.id}")
    page.sees("approved since")
    page.tab_to("Act on all of them")
    page.keys(Keys.ENTER)
    page.sees("What to do")
    page.tab_to("Show what it would do")
    page.keys(Keys.ENTER)
    page.sees("Nothing has happened yet.")
    page.keys(Keys.ENTER)  # as when somebody holds it down
    assert commands(backend, StartBulk) == []
    page.tab_to("Abort 2 instances")
    page.keys(Keys.ENTER)
    page.sees("Bulk actions: Abort")
    assert len(commands(backend, StartBulk)) == 1
    assert other(page.complaints(), 404) == []


def test_no_markup_and_no_foreign_place_gets_past_the_policy(page: Page) -> None:
    page.open()
    refused, ran = page.driver.execute_async_script("""
        const done = arguments[0], refused = new Set();
        const all = () => ["require-trusted-types-for", "img-src", "connect-src"].every((one) => refused.has(one));
        const end = () => (all() ? done([[...refused], window.ran ?? 0]) : setTimeout(end, 100));
        addEventListener("securitypolicyviolation", (event) => refused.add(event.effectiveDirective));
        try { document.body.innerHTML = "<b>x</b>" } catch { }
        const script = document.createElement("script");
        try { script.textContent = "window.ran = 1"; document.body.append(script) } catch { }
        document.body.append(Object.assign(new Image(), { src: "http://localhost:1/x.png" }));
        fetch("http://localhost:1/").catch(() => setTimeout(end, 100));
    """)
    assert {"require-trusted-types-for", "img-src", "connect-src"} <= set(refused)
    assert ran == 0
    page.complaints()


def test_an_unknown_id_says_so(page: Page) -> None:
    page.open(f"#/instances/{uuid4()}", wait="There is no instance with this id")
    page.open(f"#/workflows/{UUID(int=1)}", wait="There is no workflow with this id")
    page.open("#/nowhere", wait="There is no such page")
    assert other(page.complaints(), 404) == []
