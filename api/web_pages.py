"""What a web page may make its visitor's browser send here, where the contract is silent.

A page on any site can reach a service on its visitor's machine or network. Without authorization nothing else stands
between the two, so:

- A browser sends forms and plain text wherever a page says, but asks the service before it sends JSON or YAML, and this
  one never says yes. So where a browser names the page's origin, the body has to be JSON or YAML.
- A browser sends requests without a body wherever a page says, too. So one without a content type has to come from a
  page of this service itself, or carry a token. `Sec-Fetch-Site` tells. Over HTTP without TLS browsers leave it out,
  except to their own machine (Fetch Metadata, 2). Then the page's origin has to be the host of the request.
- A page can let its own host name resolve to this service's address (DNS rebinding), and then read the answers too. So
  the hosts that this service answers for can be listed.

Clients other than browsers send no `Origin`, and may send bodies under any content type.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from api.answers import Answer
from api.calls import Call
from api.errors import Invalid
from api.routing import Handler, Operation
from schemas.settings import ApiSettings, variable

ANY_HOST: Final = "*"

_JSON_OR_YAML: Final = re.compile(
    r"\s*[\w!#$&^.+-]+/([\w!#$&^.+-]*[.+-])?(json|yaml)\s*(;.*)?", re.ASCII | re.IGNORECASE
)
"""One media type. Of several with commas between, a browser could take the first for plain text and not ask."""


class WebPages:
    """Checks the requests that pages could have made.

    Args:
        settings: with `allowed_hosts`.
    """

    def __init__(self, settings: ApiSettings):
        hosts = {host.strip().lower() for host in settings.allowed_hosts.split(",")} - {""}
        self._hosts = frozenset() if ANY_HOST in hosts else frozenset(hosts)

    def protect(self, operations: Sequence[Operation]) -> tuple[Operation, ...]:
        """The operations behind the checks that they need."""
        return tuple(self._protected(operation) for operation in operations)

    def _protected(self, operation: Operation) -> Operation:
        handler: Handler = operation.handler
        errors = operation.errors
        if operation.method == "POST":  # browsers ask before any other method that changes something
            handler = _with_known_body(handler)
        if self._hosts:
            handler = self._for_known_hosts(handler)
            errors = tuple(sorted({*errors, 400}))
        return msgspec.structs.replace(operation, handler=handler, errors=errors)

    def _for_known_hosts(self, handler: Handler) -> Handler:
        async def checked(call: Call) -> Answer:
            hosts = call.headers(b"host")
            host = ", ".join(hosts)  # two are malformed (RFC 9112, 3.2), and a gateway may have looked at the other one
            if len(hosts) > 1 or host_name(host) not in self._hosts:
                raise Invalid(f"host {host[:100]!r} is not in {variable('allowed_hosts')}")
            return await handler(call)

        return checked


def _with_known_body(handler: Handler) -> Handler:
    async def checked(call: Call) -> Answer:
        if call.header(b"origin") is not None:
            check_body(call)
        return await handler(call)

    return checked


def check_body(call: Call) -> None:
    """Refuse what a browser sends for a page without asking.

    Raises:
        Invalid: the body is neither JSON nor YAML, or the page is of another origin and sends no body.
    """
    content_type = call.header(b"content-type")
    if content_type is not None:
        if not _JSON_OR_YAML.fullmatch(content_type):
            raise Invalid(f"content type {content_type[:100]!r} is not allowed for web pages; send application/json")
    elif call.has_body or not (_is_own_page(call) or _has_token(call)):
        raise Invalid("web pages must send a content type, such as application/json")


def _is_own_page(call: Call) -> bool:
    """Whether the page has the origin that the request goes to."""
    site = call.header(b"sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    _, _, host = (call.header(b"origin") or "").partition("://")
    return host != "" and call.headers(b"host") == [host]


def _has_token(call: Call) -> bool:
    """Whether there is a bearer token, which a browser never sends on its own."""
    return (call.header(b"authorization") or "").lower().startswith("bearer ")


def host_name(host: str) -> str:
    """The name in a `Host` header, without its port: `[::1]:8080` → `[::1]`."""
    name, colon, port = host.rpartition(":")
    return (name if colon and (port.isdigit() or not port) else host).lower().rstrip(".")
