"""Requests to the stack with the service's own credentials."""

import time
from collections.abc import Callable, Mapping
from functools import partial

from schemas.settings import SettingsError, StackSettings, variable
from schemas.stack.answers import Answer
from schemas.stack.exchange import Before
from schemas.stack.oauth import TokenSource
from schemas.stack.transport import Transport


class StackClient:
    """A pooled session with the stack, and its access tokens. To be opened before the first request.

    Args:
        settings: where the stack is, its credentials, and the limits.
        monotonic: seconds that never go back.

    Raises:
        SettingsError: the stack's URL is not an HTTP URL, or one of the two client credentials is missing.
    """

    def __init__(self, settings: StackSettings, monotonic: Callable[[], float] = time.monotonic):
        if not settings.stack_url.startswith(("http://", "https://")):
            raise SettingsError(f"setting {variable('stack_url')} must begin with http:// or https://")
        if (settings.stack_client_id is None) != (settings.stack_client_secret is None):
            names = f"{variable('stack_client_id')} and {variable('stack_client_secret')}"
            raise SettingsError(f"settings {names} must be given together")
        self.url = settings.stack_url.rstrip("/")
        self.transport = Transport(settings.stack_connect_timeout_seconds, settings.max_answer_bytes)
        self._tokens: TokenSource | None = None
        if settings.stack_client_id is not None:
            self._tokens = TokenSource(settings, self.transport, monotonic)

    async def open(self) -> None:
        """Make ready for requests. The stack need not be there yet."""
        await self.transport.open()

    async def close(self) -> None:
        """Close all connections. Requests under way fail."""
        if self._tokens is not None:
            await self._tokens.close()
        await self.transport.close()

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        before: Before | None = None,
    ) -> Answer:
        """One request to the stack. The caller bounds the time.

        Args:
            method: the HTTP method.
            url: absolute, below `url`, percent-encoded.
            headers: beside those that every request has.
            body: bytes of the body.
            before: awaited right before the request is sent, each time: there may be a second one with another token.

        Raises:
            CallFailed: a token or an answer could not be had, or `before` has raised it.
        """
        send = partial(self.transport.send, method, url, body=body, before=before)
        if self._tokens is None:
            return await send(headers=headers)
        token = await self._tokens.token()
        answer = await send(headers=_authorized(headers, token))
        if answer.status == 401 and self._tokens.reject(token):
            # Revoked, or the stack's clock is ahead. Once only: a new token that is refused too is the client's fault.
            answer = await send(headers=_authorized(headers, await self._tokens.token()))
            if answer.status == 401:
                self._tokens.reject_new()
        return answer


def _authorized(headers: Mapping[str, str] | None, token: str) -> Mapping[str, str]:
    return {**(headers or {}), "Authorization": f"Bearer {token}"}
