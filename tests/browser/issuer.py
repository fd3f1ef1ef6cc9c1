"""An issuer of tokens that a browser signs in at: the code flow with PKCE, for a public client (RFC 6749, RFC 7636)."""

import asyncio
import base64
import hashlib
import threading
import time
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode

from joserfc import jwk, jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT = "console"
CODE = "one-code"
REFRESH = "one-refresh"


@cache
def _key() -> jwk.RSAKey:
    """One for all issuers: to make it takes half a second."""
    return jwk.RSAKey.generate_key(2048, {"kid": "one"})


class BrowserIssuer:
    """Signs everybody in who comes with a challenge, and gives a token for its verifier.

    Args:
        granted: the scopes of its tokens.
    """

    def __init__(self, granted: str = "orchestration:read orchestration:write"):
        self.url = ""
        self.granted = granted
        self.key = _key()
        self.asked: dict[str, str] = {}
        self.seconds = 600
        """How long its tokens are good when somebody signs in."""
        self.renewing, self.renew = threading.Event(), threading.Event()
        """Whether it is asked for a new token, and whether it may give one."""
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    def token(self, **changed: Any) -> str:
        """A token."""
        now = int(time.time())
        claims = {"iss": self.url, "sub": "ada", "exp": now + 600, "iat": now, "scope": self.granted, **changed}
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)

    async def _discovery(self, request: Request) -> Response:
        endpoints = {"authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token"}
        return JSONResponse({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **endpoints})

    async def _keys(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        self.asked = dict(request.query_params)
        back = urlencode({"code": CODE, "state": self.asked["state"]})
        return RedirectResponse(f"{self.asked['redirect_uri']}?{back}")

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if form["grant_type"] == "refresh_token":
            self.renewing.set()
            await asyncio.to_thread(self.renew.wait)
            assert form["refresh_token"] == REFRESH
            return JSONResponse({"access_token": self.token()}, headers={"access-control-allow-origin": "*"})
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        good = (
            form["code"] == CODE
            and form["client_id"] == CLIENT
            and form["redirect_uri"] == self.asked["redirect_uri"]
            and base64.urlsafe_b64encode(digest).decode().rstrip("=") == self.asked["code_challenge"]
        )
        token = self.token(exp=int(time.time()) + self.seconds)
        given = {"access_token": token, "token_type": "Bearer", "refresh_token": REFRESH}
        body = given if good else {"error": "invalid_grant"}
        return JSONResponse(body, 200 if good else 400, {"access-control-allow-origin": "*"})
