"""Where a browser and its driver are on this machine."""

import os
import shutil
from typing import Final

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
DRIVERS: Final = ("chromedriver", "chromium.chromedriver")


def found() -> tuple[str, str] | None:
    """A browser and its driver; None unless both are here. `CHROMIUM` and `CHROMEDRIVER` name others."""
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = os.environ.get("CHROMEDRIVER") or next(filter(None, map(shutil.which, DRIVERS)), None)
    return (browser, driver) if browser and driver else None
