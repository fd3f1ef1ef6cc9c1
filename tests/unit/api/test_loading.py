"""What few processes of the API ever use is not loaded by all: it takes memory, and a part of each start."""

import subprocess
import sys

RARE = ("aiohttp", "brotli", "cryptography", "lark", "re2")
"""For links, the console, authorization, expressions and their patterns."""
START = f"""
import asyncio, sys
from api.app import create_app
from api.services import outside
from schemas.settings import ApiSettings

async def start() -> None:
    settings = ApiSettings()
    reached = outside(settings)
    create_app(settings, reached=reached)
    await reached.links.open()
    await reached.links.close()

asyncio.run(start())
print(*(name for name in {RARE} if name in sys.modules))
"""


def test_a_start_loads_nothing_that_is_rarely_used() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", START], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
