"""Tokens and keys: what is refused, what is remembered, and how seldom the issuer is asked."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import pytest
from joserfc import jwk, jws, jwt

from api.app import create_app
from api.auth import tokens as tokens_module
from api.auth.errors import IssuerFault, KeysUnavailable, TokenInvalid
from api.auth.issuer import MAX_KEYS, Issuer, Keys, signing_keys
from api.auth.keys import FETCH_PAUSE_SECONDS, MAX_STALE_SECONDS, MAX_WAITING_REQUESTS, IssuerKeys
from api.auth.tokens import MAX_TOKEN_BYTES, TokenVerifier
from schemas.settings import ApiSettings, SettingsError, load, variable
from schemas.stack.answers import Answer
from schemas.stack.transport import Transport

ISSUER = "https://issuer.example"
NOW = 1_772_359_200
LEEWAY = 30
TTL = 300.0
MINUTE = 60
A_BOOLEAN = jws.JWSRegistry.default_header_registry["b64"]
SCOPES = {"orchestration:read", "orchestration:write"}


@cache
def private(name: str, kind: str = "RSA") -> jwk.RSAKey | jwk.ECKey:
    """A key of its own for each name, which is its kid."""
    if kind == "EC":
        return jwk.ECKey.generate_key("P-256", {"kid": name})
    return jwk.RSAKey.generate_key(2048, {"kid": name})


def published(*keys: jwk.RSAKey | jwk.ECKey, **changed: Any) -> list[dict[str, Any]]:
    return [{**key.as_dict(private=False), **changed} for key in keys]


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims with changes; None leaves one out."""
    given = {"iss": ISSUER, "aud": "orchestration", "sub": "s", "exp": NOW + MINUTE, "iat": NOW, "scope": "a b"}
    return {name: value for name, value in (given | changed).items() if value is not None}


def token(key: jwk.RSAKey | jwk.ECKey | None = None, header: dict[str, Any] | None = None, **changed: Any) -> str:
    key = key or private("one")
    header = {"alg": "RS256" if isinstance(key, jwk.RSAKey) else "ES256", "kid": key.kid, **(header or {})}
    header = {name: value for name, value in header.items() if value is not None}
    registry = jws.JWSRegistry(
        algorithms=[header["alg"]], strict_check_header=False, header_registry={"b65": A_BOOLEAN}
    )
    return jwt.encode(header, claims(**changed), key, registry=registry, default_type=None)


def encoded(value: Any) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def by_hand(header: Any, payload: Any = None, sign: Callable[[bytes], bytes] = lambda content: b"") -> str:
    """A token that no library would make."""
    content = f"{encoded(header)}.{encoded(claims() if payload is None else payload)}"
    return f"{content}.{encoded(sign(content.encode()))}"


def hmac_with(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda content: hmac.digest(secret, content, hashlib.sha256)


class Clock:
    """Both clocks, wall and monotonic."""

    def __init__(self) -> None:
        self.now: float = NOW

    def __call__(self) -> float:
        return self.now


class FakeIssuer:
    """Publishes keys, or is away, or keeps whoever asks waiting while its gate is closed."""

    def __init__(self, *keys: jwk.RSAKey | jwk.ECKey):
        self.published = published(*keys)
        self.fault: Exception | None = None
        self.fetches = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def keys(self) -> Keys:
        self.fetches += 1
        await self.gate.wait()
        if self.fault:
            raise self.fault
        return signing_keys(self.published)


class World:
    """A verifier with all that it needs."""

    def __init__(self, *keys: jwk.RSAKey | jwk.ECKey, **settings: Any):
        self.clock = Clock()
        self.issuer = FakeIssuer(*(keys or (private("one"),)))
        self.keys = IssuerKeys(self.issuer.keys, TTL, self.clock)
        given: dict[str, Any] = {"auth_issuer": ISSUER, "auth_audience": "orchestration", "auth_leeway_seconds": LEEWAY}
        self.verifier = TokenVerifier(ApiSettings(**(given | settings)), self.keys, self.clock)

    async def scopes(self, text: str) -> set[str]:
        return set((await self.verifier.verify(text)).scopes)

    async def refused(self, text: str) -> str:
        with pytest.raises(TokenInvalid) as caught:
            await self.verifier.verify(text)
        assert (caught.value.status, caught.value.code) == (401, "VALIDATION")
        return caught.value.message

    async def idle(self) -> None:
        """Let a fetch in the background end."""
        for _ in range(5):
            await asyncio.sleep(0)


# What is good


@pytest.mark.parametrize(
    "text",
    [
        token(),
        token(private("ec", "EC")),
        token(header={"typ": "JWT"}),
        token(header={"typ": "at+jwt"}),
        token(header={"typ": "application/AT+JWT"}),
        token(header={"kid": None}),
        token(header={"nonce": "unknown fields are ignored", "x5c": ["A" * 1500]}),
        token(aud=["other", "orchestration"]),
        token(exp=NOW + 0.5),
        token(iat=None, sub=None),
        # the clocks differ by less than the leeway
        token(exp=NOW - LEEWAY + 1),
        token(nbf=NOW + LEEWAY),
        token(iat=NOW + LEEWAY),
    ],
)
async def test_a_good_token(text: str) -> None:
    assert await World(private("one"), private("ec", "EC")).scopes(text) == {"a", "b"}


@pytest.mark.parametrize(
    ("granted", "scopes"),
    [
        ({"scope": "orchestration:read orchestration:write"}, SCOPES),
        ({"scope": sorted(SCOPES)}, SCOPES),
        ({"scope": None, "scp": "orchestration:read orchestration:write"}, SCOPES),
        ({"scope": "orchestration:read", "scp": ["orchestration:write"]}, SCOPES),
        ({"scope": ["orchestration:read", "orchestration:write", 1, None, {}]}, SCOPES),
        ({"scope": {"orchestration:read": True}}, set()),
        ({"scope": 1}, set()),
        ({"scope": None}, set()),
    ],
)
async def test_scopes(granted: Any, scopes: set[str]) -> None:
    assert await World().scopes(token(**granted)) - {""} == scopes


async def test_a_subject_shows_as_no_other_text() -> None:
    world = World()
    for subject, kept in (("ada", "ada"), ("a\u202ed\na", r"a\u202ed\na"), ("\u202e" * 255, r"\u202e" * 42 + r"\u2")):
        assert (await world.verifier.verify(token(sub=subject))).subject == kept


async def test_without_an_audience_setting_any_will_do() -> None:
    world = World(auth_audience=None)
    assert await world.scopes(token(aud="other"))
    assert await world.scopes(token(aud=None))


# What is not

PUBLIC = private("one")
PEM = PUBLIC.as_pem(private=False)
HS256 = {"alg": "HS256", "typ": "JWT"}
NESTED = b'{"alg":"RS256","x":' + b"[" * 2500
SIGNED = token()
REFUSED = {
    "alg none": by_hand({"alg": "none"}),
    "alg none, of a key": by_hand({"alg": "none", "kid": "one"}),
    "alg None": by_hand({"alg": "None"}),
    "HS256 with the public key's PEM": by_hand(HS256, sign=hmac_with(PEM)),
    "HS256 with the public key's PEM, named": by_hand({**HS256, "kid": "one"}, sign=hmac_with(PEM)),
    "HS256 with the public key's DER": by_hand(HS256, sign=hmac_with(PUBLIC.as_der(private=False))),
    "HS256 with the public key's JWK": by_hand(HS256, sign=hmac_with(json.dumps(published(PUBLIC)[0]).encode())),
    "HS256 with an empty secret": by_hand(HS256, sign=hmac_with(b"")),
    "algorithm off the list": token(header={"alg": "PS256"}),
    "algorithm of another key": by_hand({"alg": "ES256", "kid": "one"}, sign=lambda content: b"0" * 64),
    "key of somebody else": token(private("two"), {"kid": "one"}),
    "key in the header": token(private("two"), {"kid": "one", "jwk": published(private("two"))[0]}),
    "key in the header, unnamed": token(private("two"), {"kid": None, "jwk": published(private("two"))[0]}),
    "unknown key": token(private("two")),
    "no signature": ".".join([*SIGNED.split(".")[:2], ""]),
    "other claims": ".".join([SIGNED.split(".")[0], encoded(claims(sub="root")), SIGNED.split(".")[2]]),
    "critical extension": token(header={"crit": ["b65"], "b65": True}),
    "critical extension that the library knows": token(header={"crit": ["b64"], "b64": True}),
    "critical extensions that are none": by_hand({"alg": "RS256", "crit": []}),
    "critical extensions that are no list": by_hand({"alg": "RS256", "crit": 1}),
    "critical extension that is not a text": by_hand({"alg": "RS256", "crit": [[]]}),
    "logout token": token(header={"typ": "logout+jwt"}),
    "expired": token(exp=NOW - LEEWAY),
    "expired long ago": token(exp=0),
    "no expiry": token(exp=None),
    "expiry that is a text": token(exp=str(NOW + MINUTE)),
    "expiry that is a boolean": token(exp=True),
    "expiry that is not a number": token(exp=float("nan")),
    "expiry without end": token(exp=float("inf")),
    "not yet valid": token(nbf=NOW + LEEWAY + 1),
    "from the future": token(iat=NOW + LEEWAY + 1),
    "other issuer": token(iss="https://issuer.example.evil"),
    "issuer with a slash": token(iss=ISSUER + "/"),
    "issuers": token(iss=[ISSUER]),
    "no issuer": token(iss=None),
    "other audience": token(aud="orchestration2"),
    "other audiences": token(aud=["orchestration2", "other"]),
    "odd audiences": token(aud=["orchestration", 1]),
    "no audience": token(aud=None),
    "empty": "",
    "garbage": "garbage",
    "dots": "..",
    "many dots": "." * 1000,
    "no base64": "a.b.c",
    "not ASCII": "é.é.é",
    "header that is not an object": by_hand(["alg"]),
    "header that is a text": by_hand("alg"),
    "header that is a number": by_hand(1),
    "header without algorithm": by_hand({"kid": "one"}),
    "algorithm that is not a text": by_hand({"alg": ["RS256"]}),
    "kid that is not a text": by_hand({"alg": "RS256", "kid": {"a": 1}}),
    "type that is not a text": by_hand({"alg": "RS256", "typ": 1}),
    "deep header": by_hand(NESTED),
    "too long": token(x="x" * MAX_TOKEN_BYTES),
    "encrypted": ".".join([encoded({"alg": "dir", "enc": "A256GCM"}), "", "AA", "AA", "AA"]),
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
async def test_a_bad_token(text: str) -> None:
    world = World(PUBLIC, private("ec", "EC"))
    message = await world.refused(text)
    assert message.startswith("invalid token: ")
    assert await world.refused(text) == message
    assert await world.scopes(SIGNED)


async def test_claims_that_are_no_object() -> None:
    for payload in (b"[]", b"null", b"{", b"\xff", b'{"a":' + b"[" * 5000):
        signed = jws.serialize_compact({"alg": "RS256", "kid": "one"}, payload, private("one"))
        assert "can't be read" in await World().refused(signed)


async def test_a_token_of_the_longest_length() -> None:
    empty = token(x="")
    room = (MAX_TOKEN_BYTES - len(empty)) * 3 // 4
    text = max((token(x="x" * (room - cut)) for cut in range(4)), key=lambda t: (len(t) <= MAX_TOKEN_BYTES, len(t)))
    assert MAX_TOKEN_BYTES - 1 <= len(text) <= MAX_TOKEN_BYTES
    assert await World().scopes(text)


async def test_only_allowed_algorithms() -> None:
    world = World(auth_algorithms="ES256,PS256")
    assert "algorithm" in await world.refused(token())
    assert await world.scopes(token(header={"alg": "PS256"}))


async def test_reasons_are_told_and_tokens_are_not() -> None:
    assert await World().refused(token(exp=1)) == "invalid token: it has expired"
    assert "iss" in await World().refused(token(iss="https://evil.example"))
    assert "evil" not in await World().refused(token(iss="https://evil.example"))


# Keys as published


@pytest.mark.parametrize(
    "jwk_",
    [
        {"kty": "oct", "k": encoded(b"s" * 32), "kid": "one"},
        {"kty": "OKP", "crv": "Ed25519", "x": encoded(b"x" * 32)},
        {"kty": "AKP", "alg": "ML-DSA-44"},
        {"kty": ["RSA"]},
        {},
        {"kty": "RSA"},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "n": 1, "e": 2},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {**published(private("one"))[0], "use": "enc"},
        {**published(private("one"))[0], "use": "sig", "key_ops": ["encrypt"]},
    ],
    ids=lambda jwk_: ",".join(f"{name}={str(value)[:8]}" for name, value in jwk_.items() if name != "n") or "empty",
)
async def test_keys_that_can_not_be_used_are_left_out(jwk_: Any) -> None:
    assert [key.kid for key in signing_keys([jwk_, *published(private("two"))])] == ["two"]


async def test_weak_keys_are_left_out() -> None:
    with pytest.warns(match="2048"):
        weak = jwk.RSAKey.generate_key(1024, {"kid": "weak"})
    assert signing_keys(published(weak)) == ()


async def test_no_more_than_so_many_keys() -> None:
    assert len(signing_keys(published(private("one")) * 100)) == MAX_KEYS


async def test_a_key_is_for_its_algorithm_alone() -> None:
    world = World(auth_algorithms="RS256,PS256")
    world.issuer.published = published(private("one"), alg="PS256")
    assert await world.refused(token())
    assert await world.scopes(token(header={"alg": "PS256"}))


@pytest.mark.parametrize(
    ("issuer", "jwks_uri", "accepted"),
    [
        ("https://issuer.example", "https://keys.example/", True),
        ("https://issuer.example", "http://issuer.example/keys", False),
        ("https://issuer.example", "file:///keys", False),
        ("http://issuer.example", "http://issuer.example/keys", True),
        ("http://issuer.example", "https://issuer.example/keys", True),
        ("http://issuer.example", "file:///keys", False),
        ("http://issuer.example", "/keys", False),
    ],
)
async def test_keys_travel_no_less_protected_than_where_they_are(
    issuer: str, jwks_uri: str, accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def send(self: Transport, method: str, url: str) -> Answer:
        asked.append(url)
        return Answer(200, msgspec.json.encode({"issuer": issuer, "jwks_uri": jwks_uri, "keys": []}))

    monkeypatch.setattr(Transport, "send", send)
    if accepted:
        assert await Issuer(issuer).keys() == ()
    else:
        with pytest.raises(IssuerFault, match="jwks_uri"):
            await Issuer(issuer).keys()
    assert asked == [f"{issuer}/.well-known/openid-configuration", *([jwks_uri] if accepted else [])]


# Rotation and outages


async def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    world = World()
    await world.scopes(token())
    world.issuer.published = published(private("two"))
    world.clock.now += FETCH_PAUSE_SECONDS
    assert await world.scopes(token(private("two")))
    assert world.issuer.fetches == 2
    assert await world.refused(token())


async def test_a_new_key_without_a_name() -> None:
    world = World()
    del world.issuer.published[0]["kid"]
    await world.scopes(token(header={"kid": None}))
    world.issuer.published = published(private("two"))
    del world.issuer.published[0]["kid"]
    world.clock.now += FETCH_PAUSE_SECONDS
    assert await world.scopes(token(private("two"), {"kid": None}))


async def test_made_up_keys_do_not_hammer_the_issuer() -> None:
    world = World()
    for second in range(100):
        for number in range(3):
            await world.refused(token(header={"kid": f"made up {number}"}))
            await world.refused(token(private("two"), {"kid": None}))
        world.clock.now += 1
        assert world.issuer.fetches <= 1 + (second + 1) / FETCH_PAUSE_SECONDS
    assert world.issuer.fetches >= 100 / FETCH_PAUSE_SECONDS


async def test_a_bad_signature_of_a_known_key_asks_nobody() -> None:
    world = World()
    world.clock.now += FETCH_PAUSE_SECONDS
    await world.scopes(token())
    world.clock.now += FETCH_PAUSE_SECONDS
    await world.refused(token(private("two"), {"kid": "one"}))
    assert world.issuer.fetches == 1


async def test_concurrent_requests_share_a_fetch() -> None:
    world = World()
    world.issuer.gate.clear()
    waiting = [asyncio.create_task(world.scopes(token(jti=str(number)))) for number in range(20)]
    await world.idle()
    waiting.pop().cancel()  # a client that goes away doesn't take the fetch away from the others
    await world.idle()
    world.issuer.gate.set()
    assert await asyncio.gather(*waiting) == [{"a", "b"}] * 19
    assert world.issuer.fetches == 1


async def test_only_so_many_wait_for_a_fetch() -> None:
    world = World()
    world.issuer.gate.clear()
    waiting = [asyncio.create_task(world.scopes(SIGNED)) for _ in range(MAX_WAITING_REQUESTS)]
    await world.idle()
    with pytest.raises(KeysUnavailable, match="too many"):
        await world.scopes(SIGNED)
    world.issuer.gate.set()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("fault", [IssuerFault("away"), RuntimeError("a bug")])
async def test_without_keys_nobody_can_tell(fault: Exception, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.issuer.fault = fault
    for _ in range(3):
        with pytest.raises(KeysUnavailable) as caught:
            await world.scopes(SIGNED)
        assert (caught.value.status, caught.value.code) == (503, "INTERNAL")
    assert world.issuer.fetches == 1
    assert "could not be fetched" in caplog.text
    world.issuer.fault = None
    world.clock.now += FETCH_PAUSE_SECONDS
    assert await world.scopes(SIGNED)


async def test_an_issuer_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.keys.FETCH_TIMEOUT_SECONDS", 0.01)
    world = World()
    world.issuer.gate.clear()
    with pytest.raises(KeysUnavailable):
        await world.scopes(SIGNED)


async def test_keys_are_used_for_a_while_when_the_issuer_is_away() -> None:
    world = World()
    await world.scopes(SIGNED)
    world.issuer.fault = IssuerFault("away")
    world.clock.now += TTL + MAX_STALE_SECONDS - 1
    assert await world.scopes(token(exp=world.clock.now + MINUTE))
    await world.idle()
    with pytest.raises(KeysUnavailable):
        await world.scopes(token(private("two")))  # which may be new
    await world.refused(token(private("two"), {"kid": "one"}))
    world.clock.now += 1
    with pytest.raises(KeysUnavailable):
        await world.scopes(token(exp=world.clock.now + MINUTE))


async def test_keys_are_renewed_in_the_background() -> None:
    world = World()
    text = token(exp=NOW + 2 * TTL)
    await world.scopes(text)
    world.clock.now += TTL - 1
    await world.scopes(text)
    await world.idle()
    assert world.issuer.fetches == 1
    world.clock.now += 1
    world.issuer.gate.clear()
    assert await world.scopes(text)  # nobody waits
    await world.idle()
    assert world.issuer.fetches == 2
    world.issuer.gate.set()


async def test_a_withdrawn_key_ends_its_tokens() -> None:
    world = World()
    text = token(exp=NOW + 2 * TTL)
    await world.scopes(text)
    world.issuer.published = []
    world.clock.now += TTL
    await world.scopes(text)
    await world.idle()
    await world.refused(text)


async def test_closing_ends_a_fetch(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.issuer.gate.clear()
    world.keys.renew()
    await world.idle()
    await world.keys.close()
    assert world.issuer.fetches == 1
    assert not caplog.records  # it did not run into its timeout
    await world.keys.close()


# Memory of good tokens


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each signature that is checked."""
    found: list[str] = []
    check = jws.validate_compact

    def counted(signed: jws.CompactSignature, *args: Any, **options: Any) -> bool:
        found.append("check")
        return check(signed, *args, **options)

    monkeypatch.setattr(jws, "validate_compact", counted)
    return found


async def test_a_signature_is_checked_once(checks: list[str]) -> None:
    world = World()
    for _ in range(3):
        assert await world.scopes(SIGNED) == {"a", "b"}
    assert len(checks) == 1
    other = ".".join([*SIGNED.split(".")[:2], encoded(b"other")])
    await world.refused(other)
    await world.refused(other)
    assert len(checks) == 3


async def test_a_known_token_expires_all_the_same(checks: list[str]) -> None:
    world = World()
    assert await world.scopes(SIGNED)
    world.clock.now = NOW + MINUTE + LEEWAY - 0.5
    assert await world.scopes(SIGNED)
    assert len(checks) == 1
    world.clock.now = NOW + MINUTE + LEEWAY
    assert "expired" in await world.refused(SIGNED)


async def test_the_tokens_used_latest_are_known(checks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "MAX_VERIFIED_TOKENS", 2)
    world = World()
    first, second, third = (token(jti=str(number)) for number in range(3))
    for text in (first, second, first, third):
        await world.scopes(text)
    assert len(checks) == 3
    await world.scopes(first)
    assert len(checks) == 3
    await world.scopes(second)
    assert len(checks) == 4


# Settings


def test_on_without_an_issuer() -> None:
    with pytest.raises(SettingsError, match="ORCHESTRATION_AUTH_ISSUER"):
        create_app(ApiSettings(auth_enabled=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auth_issuer", "issuer.example"),
        ("auth_issuer", "ftp://issuer.example"),
        ("auth_issuer", "https://"),
        ("auth_issuer", "https://issuer.example?a=b"),
        ("auth_algorithms", "none"),
        ("auth_algorithms", "RS256,HS256"),
        ("auth_algorithms", "RS256, ES256"),
        ("auth_algorithms", "RS256,"),
        ("auth_leeway_seconds", "-1"),
        ("auth_leeway_seconds", "301"),
        ("auth_keys_ttl_seconds", "0"),
        ("auth_enabled", "maybe"),
    ],
)
def test_wrong_settings(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable(name)):
        load(ApiSettings, {variable(name): value})


@pytest.mark.parametrize(
    ("host", "enabled", "warned"),
    [
        ("127.0.0.1", False, False),
        ("127.1.2.3", False, False),
        ("::1", False, False),
        ("localhost", False, False),
        ("0.0.0.0", False, True),  # noqa: S104 - the point
        ("::", False, True),
        ("", False, True),
        ("10.0.0.1", False, True),
        ("api.example", False, True),
        ("0.0.0.0", True, False),  # noqa: S104 - the point
    ],
)
def test_an_open_api_is_warned_of(host: str, enabled: bool, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    create_app(ApiSettings(host=host, auth_enabled=enabled, auth_issuer=ISSUER, auth_audience="orchestration"))
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert bool(warnings) == warned
    assert all("ORCHESTRATION_AUTH_ENABLED" in record.getMessage() for record in warnings)
