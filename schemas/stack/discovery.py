"""OIDC discovery: what an issuer of tokens publishes about itself (OpenID Connect Discovery 1.0, section 4).

The engine looks there for the stack's token endpoint, the API for the keys that its clients' tokens are signed with.
"""

import re
from typing import Final, Protocol, TypeVar

from msgspec import Struct

from schemas.stack.answers import Answer, read_as
from schemas.stack.errors import Unreadable

MAX_DOCUMENT_BYTES: Final = 256 * 1024
"""Largest document of an issuer that the API reads. Without a limit a broken issuer could fill the memory; known sets
of keys have few KiB."""

_PLAIN: Final = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?].*)?")
"""A URL with a host that can be named in a header, such as a page's security policy, and without a user."""

Document = TypeVar("Document", bound=Struct)


class Sender(Protocol):
    """`schemas.stack.transport.Transport`, as far as tokens need it."""

    async def send(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send a request and read its answer. Raises `NoAnswer` and `Unreadable`."""


async def discover(sender: Sender, issuer: str, shape: type[Document]) -> Document:
    """The issuer's configuration.

    Args:
        sender: sends the request.
        issuer: the issuer's URL, with or without a slash at the end.
        shape: the fields of the configuration that are needed.

    Raises:
        CallFailed: the issuer did not answer, or not with such a document.
    """
    return read_as(await sender.send("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration"), shape)


def check_protected(name: str, url: str, issuer: str) -> None:
    """Check a URL that an issuer's configuration names: a plain HTTP one, and over TLS if the issuer's own is.

    Secrets and keys must not travel less protected than the document that says where they are.

    Raises:
        Unreadable: the URL is another one.
    """
    schemes = ("https://",) if issuer.startswith("https://") else ("http://", "https://")
    if not url.startswith(schemes):
        raise Unreadable(f"its {name} does not begin with {' or '.join(schemes)}", 200)
    if _PLAIN.fullmatch(url) is None:
        raise Unreadable(f"its {name} is not a plain URL", 200)
