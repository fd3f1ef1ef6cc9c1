"""Fault switches: which calls are slow, refused, answered with nonsense, or not answered at all.

Draws come from one `random.Random` per endpoint, made from the seed and the endpoint's name: the n-th call of an
endpoint meets the same fate in every run with the same switches, however calls of different endpoints interleave.
With `call` and `times` a switch strikes at certain calls alone, counted from when it was set.
"""

import random
from collections import Counter
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

Kind = Literal["slow", "error", "drop", "garbage"]

MAX_DELAY_SECONDS: Final = 600
"""A delay outlasts any client's patience long before this; without a limit a typo would pin requests for days."""
MAX_RULES: Final = 100
"""Every call draws once per rule: without a limit a long list would slow the sandbox for everybody."""

EVERY_ENDPOINT: Final = "*"


class FaultRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One switch.

    `slow` delays the answer (after committing); `error` answers `status` with `code` and `message`; `drop` closes the
    connection without an answer; `garbage` answers 200 with no JSON.

    Attributes:
        endpoint: whose calls it strikes; `*` for all.
        call: the first call that it may strike, from 1.
        times: how many calls in a row from there; null for all that follow.
        after: whether the call is committed before it fails. When not given, `error` does not commit, `drop` and
            `garbage` do.
    """

    endpoint: str
    kind: Kind
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    delay_seconds: Annotated[float, msgspec.Meta(ge=0, le=MAX_DELAY_SECONDS)] = 1.0
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 500
    code: str = "INTERNAL_ERROR"
    message: str = "the sandbox was told to fail"
    after: bool | None = None
    call: Annotated[int, msgspec.Meta(ge=1)] = 1
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None

    @property
    def commits(self) -> bool:
        """Whether a call that it strikes is carried out all the same."""
        return self.kind != "error" if self.after is None else self.after

    def strikes(self, number: int) -> bool:
        """Whether it may strike the call of this number, from 1."""
        return number >= self.call and (self.times is None or number < self.call + self.times)


class FaultSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PUT /sandbox/faults`; it replaces all earlier switches, `faults: []` turns them off."""

    faults: Annotated[list[FaultRule], msgspec.Meta(max_length=MAX_RULES)] = []
    seed: int = 0


class Fate(NamedTuple):
    """What happens to one call: a delay, and at most one of the other kinds."""

    delay_seconds: float = 0.0
    rule: FaultRule | None = None


UNHARMED: Final = Fate()


class Faults:
    """The switches and their random state."""

    def __init__(self, settings: FaultSettings) -> None:
        self.settings = settings
        self._rules: dict[str, list[FaultRule]] = {}
        self._randoms: dict[str, random.Random] = {}
        self._calls: Counter[str] = Counter()

    def calls(self, endpoint: str) -> int:
        """How many calls were decided about, if there is a switch."""
        return self._calls[endpoint]

    def draw(self, endpoint: str) -> Fate:
        """Decides about one call. Delays add up; of the other kinds the first in the list that strikes counts."""
        if not self.settings.faults:
            return UNHARMED
        if endpoint not in self._rules:
            self._rules[endpoint] = [r for r in self.settings.faults if r.endpoint in (endpoint, EVERY_ENDPOINT)]
            self._randoms[endpoint] = random.Random(f"{self.settings.seed}/{endpoint}")  # noqa: S311 - no secret
        self._calls[endpoint] += 1
        delay_seconds = 0.0
        harm: FaultRule | None = None
        for rule in self._rules[endpoint]:
            # One draw per rule, whatever the others do: changing one probability leaves the other rules' draws alone.
            if self._randoms[endpoint].random() >= rule.probability or not rule.strikes(self._calls[endpoint]):
                continue
            if rule.kind == "slow":
                delay_seconds += rule.delay_seconds
            elif harm is None:
                harm = rule
        return Fate(delay_seconds, harm)
