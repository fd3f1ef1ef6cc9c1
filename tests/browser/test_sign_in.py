"""Signing in to the console, and what those see who may only read."""

import contextlib
from collections.abc import Iterator
from typing import Any

from selenium import webdriver

from schemas.settings import ApiSettings
from tests.browser.conftest import BASE_PATH
from tests.browser.issuer import CLIENT, BrowserIssuer
from tests.browser.page import Page, other
from tests.browser.site import served, without_streams
from tests.browser.stories import KINDS, WHY_IT_WAITS, Stories
from tests.unit.api.fakes import Backend, client_of

TOKENS = {"not a token": "That is not a token", "a.b.c": "The token is not valid (any more)."}
ACTS = {"Act on all of them", "New workflow", "Start", "Delete", "Test", "Stop it", "Create workflow"}
OFFERED = "return [...document.querySelectorAll('main button, main a')].map((one) => one.innerText.trim())"

RENEWAL = """
const [done] = arguments;
import(new URL('data/session.js', document.querySelector('script[type=module]').src))
  .then((session) => { window.renewal = session.renewed(); done(); })
"""
"""All who need a new token share one try."""


@contextlib.contextmanager
def installation(driver: webdriver.Chrome, backend: Backend, issuer: BrowserIssuer, **more: Any) -> Iterator[Page]:
    """The console of an installation that asks for tokens of an issuer."""
    with served(issuer.app) as url:
        issuer.url = url
        settings = ApiSettings(auth_enabled=True, auth_issuer=url, auth_check_scopes=True, **more)
        with served(without_streams(client_of(backend, settings).app), lifespan="on") as address:
            page = Page(driver, f"{address}{BASE_PATH}/console/")
            page.shown_as()
            page.complaints()  # what the tests before have left: a page that signs out may have just asked
            yield page
            driver.execute_script("sessionStorage.clear()")
            driver.get("about:blank")


def test_people_sign_in_at_the_issuer_and_come_back_to_their_place(
    driver: webdriver.Chrome, backend: Backend, stories: Stories
) -> None:
    id = stories.waiting()
    issuer = BrowserIssuer()
    with installation(driver, backend, issuer, console_client_id=CLIENT) as page:
        page.open(f"#/instances/{id}", wait="This installation asks who you are.")
        assert page.violations() == []
        page.press("Sign in")
        page.sees(WHY_IT_WAITS)
        page.sees("ada")
        assert page.driver.current_url == f"{page.address}#/instances/{id}"
        assert issuer.asked["code_challenge_method"] == "S256"
        page.driver.refresh()
        page.sees(WHY_IT_WAITS)
        page.press("Sign out")
        page.sees("This installation asks who you are.")


def test_a_token_that_has_expired_is_renewed_unless_somebody_signs_out_meanwhile(
    driver: webdriver.Chrome, backend: Backend, stories: Stories
) -> None:
    id = stories.waiting()
    for signs_out in (False, True):
        issuer = BrowserIssuer()
        issuer.seconds = -60
        with installation(driver, backend, issuer, console_client_id=CLIENT) as page:
            page.open(f"#/instances/{id}", wait="This installation asks who you are.")
            page.press("Sign in")
            page.until(issuer.renewing.is_set)
            driver.execute_async_script(RENEWAL)
            if signs_out:
                page.press("Sign out")
                page.sees("This installation asks who you are.")
            issuer.renew.set()
            renewed = driver.execute_async_script("window.renewal.then(arguments[0])")
            assert renewed is not signs_out
            page.sees("This installation asks who you are." if signs_out else WHY_IT_WAITS)
            assert driver.execute_script("return sessionStorage.length") == (0 if signs_out else 1)


def test_who_may_only_read_sees_everything_and_changes_nothing(
    driver: webdriver.Chrome, backend: Backend, everything: dict[str, object]
) -> None:
    id = everything["waiting"]
    issuer = BrowserIssuer(granted="orchestration:read")
    with installation(driver, backend, issuer) as page:
        page.open(f"#/instances/{id}", wait="Signing in here is not set up")
        page.write("Paste a token", f"Bearer {issuer.token()}")
        page.press("Use this token")
        page.sees(WHY_IT_WAITS)
        page.sees("Read only")
        page.press("Abort")
        page.sees("Abort: Your token allows reading only.")
        assert page.all("dialog") == []
        for place in KINDS:
            page.open(place.format(**everything))
            page.until(lambda: not page.all(".loading"), place)
            assert page.all("main h1")
            assert ACTS & set(page.driver.execute_script(OFFERED)) == set(), place
        assert backend.commands == []
        assert other(page.complaints(), 404) == []


def test_a_token_that_is_not_good_says_so(driver: webdriver.Chrome, backend: Backend) -> None:
    with installation(driver, backend, BrowserIssuer()) as page:
        page.open(wait="Paste a token")
        for token, told in TOKENS.items():
            page.write("Paste a token", token)
            page.press("Use this token")
            page.sees(told)
