"""A page in the browser, as its reader sees it: by the texts of buttons and fields."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

TIMEOUT_SECONDS: Final = 60.0
"""Of what takes milliseconds. A busy machine may take long for it, or stand still meanwhile."""
POLL_SECONDS: Final = 0.02
NOWHERE: Final = "#/nothing"
"""A page that there is not."""

NAMES: Final = """
const plain = (text) => (text ?? "").replace(/\\s+/g, " ").trim();
const names = (element) => [
  plain(element.getAttribute("aria-label") ?? element.labels?.[0]?.innerText ?? element.innerText),
  plain(element.querySelector?.(".step-title, .chevron + code")?.innerText),
  plain([...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data).join(" ")),
];
const named = (selector, name) => [...document.querySelectorAll(selector)]
  .find((one) => one.checkVisibility() && names(one).includes(name)) ?? null;
"""
"""The names of an element as a reader knows it; that they are what screen readers say, too, is for axe to check."""

AXE: Final = Path(__file__).with_name("axe") / "axe.min.js"


class Page:
    """The one tab.

    Args:
        driver: of the browser.
        address: the console's, with `/` at its end.
    """

    def __init__(self, driver: Chrome, address: str):
        self.driver = driver
        self.address = address

    def load(self, place: str = "") -> None:
        """Load a page of the console from nothing."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.address}{place}")
        self.until(lambda: self.all("h1"))

    def open(self, place: str = "", *, wait: str | None = None) -> None:
        """Open a page of the console, with nothing of those before: it is loaded only once."""
        if self.driver.current_url.startswith(self.address):
            self.leave()
            self.visit(place)
        else:
            self.load(place)
        if wait is not None:
            self.sees(wait)

    def leave(self) -> None:
        """Go where nothing is read, and forget what was said."""
        if not self.driver.current_url.endswith(NOWHERE):
            self.visit(NOWHERE)
        self.driver.execute_async_script(
            "const done = arguments[0];"
            "const entry = document.querySelector('script[type=module]').src;"
            "import(new URL('data/notices.js', entry)).then((m) => { m.notices.set([]); done(); }, done)"
        )

    def visit(self, place: str) -> None:
        """Go on to another page of the console, as by a link."""
        self.driver.execute_script(
            "document.querySelector('h1').className = 'old';"
            "history.pushState(null, '', location.pathname + arguments[0]);"
            "dispatchEvent(new HashChangeEvent('hashchange'))",
            place,
        )
        self.until(lambda: self.all("h1:not(.old)"), place)

    def all(self, selector: str) -> list[WebElement]:
        """What a selector finds."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """What it finds first, as soon as there is something."""
        found: list[WebElement] = self.until(lambda: self.all(selector))
        return found[0]

    @property
    def text(self) -> str:
        """All that is shown."""
        shown: str = self.driver.execute_script("return document.body.innerText")
        return " ".join(shown.replace("\u202f", " ").replace("\u00a0", " ").split())

    def sees(self, text: str) -> None:
        """Wait until a text is shown."""
        self.until(lambda: text in self.text, text)

    def misses(self, text: str) -> None:
        """Wait until a text is not shown any more."""
        self.until(lambda: text not in self.text, f"not {text}")

    def button(self, name: str, within: str = "") -> WebElement:
        """The button or link of this name, or whose text has it as a line."""
        selector = ", ".join(f"{within} {kind}" for kind in ("button", "a", "summary", "[role=button]"))
        return self._named(selector, name)

    def press(self, name: str, within: str = "") -> None:
        """Click a button or a link."""
        self.button(name, within).click()

    def field(self, name: str) -> WebElement:
        """The field of this name."""
        return self._named("input, textarea, select", name)

    def _named(self, selector: str, name: str) -> WebElement:
        script = f"{NAMES} return named(...arguments)"
        found: WebElement = self.until(lambda: self.driver.execute_script(script, selector, name), name)
        return found

    def write(self, name: str, text: str) -> None:
        """Write into a field what then is all of it."""
        field = self.field(name)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)

    def keys(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def is_focused(self, name: str) -> bool:
        """Whether what has this name has the focus."""
        script = f"{NAMES} return names(document.activeElement).includes(arguments[0])"
        return bool(self.driver.execute_script(script, name))

    def tab_to(self, name: str, most: int = 60) -> None:
        """Press Tab until something of this name has the focus."""
        for _ in range(most):
            if self.is_focused(name):
                return
            self.keys(Keys.TAB)
        raise AssertionError(f"Tab does not lead to {name!r}")

    def until(self, holds: Callable[[], Any], what: str = "") -> Any:
        """Wait for something that is not false."""
        wait = WebDriverWait(
            self.driver, TIMEOUT_SECONDS, POLL_SECONDS, ignored_exceptions=[StaleElementReferenceException]
        )
        try:
            return wait.until(lambda _: holds())
        except Exception as error:
            raise AssertionError(f"waited for {what!r}; the page shows: {self.text[:1500]}") from error

    def shown_as(self, *, dark: bool = False, width: int = 1280, height: int = 900) -> None:
        """In what colours, and how wide."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def violations(self, *rules: str) -> list[str]:
        """What axe finds, with where; by these rules alone if there are some."""
        self.driver.execute_script(AXE.read_text())
        found = self.driver.execute_async_script(
            "const done = arguments[1];"
            "axe.run(arguments[0]).then((r) => done(r.violations), (e) => done([{ id: String(e), nodes: [] }]))",
            {"runOnly": list(rules)} if rules else {},
        )
        return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"] or [{"html": ""}]]

    def call(self, path: str, function: str, *given: Any) -> Any:
        """What a function of a module of the console returns."""
        script = (
            "const [path, name, given, done] = arguments;"
            "const entry = document.querySelector('script[type=module]').src;"
            "import(new URL(path, entry)).then((m) => done(m[name](...given)), (e) => done(`!${e}`))"
        )
        return self.driver.execute_async_script(script, path, function, list(given))

    def complaints(self) -> list[str]:
        """What the browser has written to its console since the last time: faults, and what the policy has kept out."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write the page as PNG; unless it is the whole one, what fits into the window."""
        script = "const e = document.documentElement; return [e.scrollWidth, e.scrollHeight, innerHeight]"
        width, height, shown = self.driver.execute_script(script)
        clip = {"x": 0, "y": 0, "width": width, "height": height if whole else shown, "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path.write_bytes(base64.b64decode(shot["data"]))


def other(complaints: list[str], status: int) -> list[str]:
    """What the browser complains of, but for answers with this status, and that there are no streams."""
    return [one for one in complaints if f"status of {status}" not in one and "/stream" not in one]
