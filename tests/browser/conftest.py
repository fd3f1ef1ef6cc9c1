"""The browser, and the installation that it looks at."""

from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser.finding import found
from tests.browser.page import TIMEOUT_SECONDS, Page
from tests.browser.site import Switch, served, without_streams
from tests.browser.stories import Stories
from tests.unit.api.fakes import Backend, make_client

BASE_PATH = "/api/orchestration"

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
    "--lang=en-GB",
    "--hide-scrollbars",
    "--disable-background-networking",
)


QUICK = """
const after = window.setTimeout;
const quick = (pause) => pause === 6000 ? 60000 : pause > 300 ? pause / 16 : pause;
window.setTimeout = (run, pause, ...given) => after(run, quick(pause), ...given);
"""
"""Pages look again sooner than they do for people, so that no test waits for them. Notices are shown for longer: a test
may be slow."""


def chromium(browser: str, chromedriver: str) -> webdriver.Chrome:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for option in OPTIONS:
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    driver.set_script_timeout(TIMEOUT_SECONDS)
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": QUICK})
    return driver


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    """A browser without a window, one for all tests of the session."""
    place = found()
    if place is None:
        pytest.skip("no Chromium with its driver on this machine (Debian: apt-get install chromium chromium-driver)")
    driver = chromium(*place)
    yield driver
    driver.quit()


@pytest.fixture
def backend() -> Backend:
    """The log and the read model of the installation."""
    backend = Backend()
    backend.page_rows = 100
    return backend


@pytest.fixture
def stories(backend: Backend) -> Stories:
    """Makes what there is in it."""
    return Stories(backend)


@pytest.fixture
def everything(stories: Stories) -> dict[str, object]:
    """Ids of what `PLACES` name."""
    workflow = stories.workflow()
    waiting = stories.waiting(workflow)
    stories.statistics(workflow, waiting)
    stories.failed()
    stories.paused()
    return {
        "waiting": waiting,
        "retrying": stories.retrying(workflow),
        "retried": stories.retried(),
        "workflow": workflow.id,
        "trigger": stories.trigger(workflow).id,
        "bulk": stories.bulk(),
    }


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Switch, str]]:
    """A server whose app each test chooses, and its address. It ends with its file: simulations bear no other loop."""
    switch = Switch()
    with served(switch) as address:
        yield switch, address


@pytest.fixture
def page(driver: webdriver.Chrome, site: tuple[Switch, str], backend: Backend) -> Iterator[Page]:
    """The console of an installation without authorization. The browser must have nothing to complain of in the end."""
    switch, address = site
    switch.app = without_streams(make_client(backend).app)
    page = Page(driver, f"{address}{BASE_PATH}/console/")
    page.shown_as()
    page.complaints()
    yield page
    page.leave()  # nothing goes on reading from the backend of this test
    complaints = page.complaints()
    assert [
        one for one in complaints if "/stream " not in one and "/stream?" not in one and "/v2/stats" not in one
    ] == []
