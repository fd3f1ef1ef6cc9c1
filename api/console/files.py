"""The console's files: read once, told apart by content, compressed once.

Every file is served below one folder that is named by a digest of all of them. So imports between modules stay as they
are written, a browser may keep each file for ever, and one changed file changes the names of all: together they are
small.
"""

import gzip
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct

STATIC: Final = Path(__file__).with_name("static")

PAGE: Final = "index.html"
"""The page that loads the others. It names the digest, so it is the only file that browsers ask for each time."""

DIGEST_MARK: Final = b"{digest}"
"""What stands in the page where the digest belongs."""

PRELOADS_MARK: Final = b"{preloads}"
"""Where the page names all modules. Without it a browser learns of each only from the one that imports it, and asks for
them one after another."""

DIGEST_LENGTH: Final = 16
"""Hexadecimal digits. Two builds with one digest would show pages that are mixed of both."""

GZIP_LEVEL: Final = 9
BROTLI_QUALITY: Final = 11
"""The slowest: each file is compressed once in the life of a process."""

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""By the file's suffix. Those of the machine may differ, and a browser takes no module of another type."""


class StaticFile(Struct, frozen=True):
    """A file as it is sent: under each content coding, smallest first."""

    content_type: str
    bodies: dict[str, bytes]
    """By content coding; `identity` is always there."""

    def body(self, accepted: str) -> tuple[str, bytes]:
        """The smallest body that a client takes, with its content coding.

        Args:
            accepted: its `Accept-Encoding`.
        """
        codings = set(_codings(accepted))
        return next((coding, body) for coding, body in self.bodies.items() if coding in codings or coding == "identity")


class ConsoleFiles(Struct, frozen=True):
    """All files."""

    digest: str
    files: dict[str, StaticFile]
    """By their path below `static`, with `/`."""


@cache
def console_files() -> ConsoleFiles:
    """Read and compress all files: half a second, so do it in a thread, and only once somebody asks for one."""
    contents = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in sorted(_paths())}
    joined = b"".join(b"%s\0%d\0%s" % (name.encode(), len(content), content) for name, content in contents.items())
    digest = hashlib.sha256(joined).hexdigest()[:DIGEST_LENGTH]
    modules = (name for name in contents if name.endswith(".js"))
    preloads = "\n".join(f'<link rel="modulepreload" href="{DIGEST_MARK.decode()}/{name}">' for name in modules)
    page = contents[PAGE].replace(PRELOADS_MARK, preloads.encode())
    contents[PAGE] = page.replace(DIGEST_MARK, digest.encode())
    return ConsoleFiles(digest, {name: _static_file(name, content) for name, content in contents.items()})


def _paths() -> Iterable[Path]:
    return (path for path in STATIC.rglob("*") if path.suffix in _TYPES)


def _static_file(name: str, content: bytes) -> StaticFile:
    import brotli  # where nobody opens the console, it is not needed

    bodies = {
        "br": brotli.compress(content, quality=BROTLI_QUALITY),
        "gzip": gzip.compress(content, GZIP_LEVEL, mtime=0),
        "identity": content,
    }
    return StaticFile(_TYPES[Path(name).suffix], dict(sorted(bodies.items(), key=lambda item: len(item[1]))))


def _codings(accepted: str) -> Iterable[str]:
    """The codings that a client takes: those whose weight is not 0 (RFC 9110, 12.5.3)."""
    for item in accepted.lower().split(","):
        coding, _, weight = item.strip().partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            yield coding.strip()
