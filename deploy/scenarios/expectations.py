"""How what happened differs from what a scenario expects."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from deploy.scenarios.books import Books
from deploy.scenarios.model import (
    Account,
    Amounts,
    Containing,
    Expect,
    ExpectedActivity,
    ExpectedStage,
    ExpectedText,
    ExpectedWallet,
    Transfer,
)
from deploy.scenarios.story import Activity, Stage, Story
from deploy.scenarios.times import read_duration, shown


class Difference(Struct, frozen=True):
    """One thing that was not as expected.

    Attributes:
        where: as in the scenario file, such as `stages[1].duration`, counted from 0.
        expected: in words.
        found: in words.
    """

    where: str
    expected: str
    found: str

    def line(self) -> str:
        """As a sentence."""
        return f"{self.where}: expected {self.expected}, but found {self.found}"


class Comparison:
    """Compares a story and the books behind it with what was expected.

    Args:
        story: what happened.
        books: what is in the stack in the end.
        timed: whether durations are compared. Where time is real they differ a little.
    """

    def __init__(self, story: Story, books: Books, *, timed: bool = True):
        self._story, self._books, self._timed = story, books, timed
        self.differences: list[Difference] = []

    def compare(self, expect: Expect) -> Sequence[Difference]:
        """All differences, the most telling first."""
        story = self._story
        self._same("outcome", expect.outcome, story.outcome)
        self._text("error", expect.error, story.error)
        if expect.waits_for is not None:
            self._same("waitsFor", expect.waits_for, story.waits_for)
        if expect.duration is not None:
            self._duration("duration", expect.duration, None if story.duration is None else shown(story.duration))
        if expect.stages is not None:
            self._stages(expect.stages)
        if expect.activities is not None:
            self._activities("activities", expect.activities, story.activities)
        for ledger, accounts in expect.ledgers.items():
            for address, account in accounts.items():
                self._account(ledger, address, account)
        for wallet, expected in expect.wallets.items():
            self._wallet(wallet, expected)
        if expect.transfers is not None:
            self._transfers(expect.transfers)
        return self.differences

    # Stages and activities

    def _stages(self, expected: Sequence[str | ExpectedStage]) -> None:
        wanted = [ExpectedStage(name=one) if isinstance(one, str) else one for one in expected]  # type: ignore[arg-type]
        stages = self._story.stages
        if [one.name for one in wanted] != [stage.name for stage in stages]:
            self._names("stages", [one.name for one in wanted], [stage.name for stage in stages])
        for number, (one, stage) in enumerate(zip(wanted, stages, strict=False)):
            if one.name == stage.name:
                self._stage(f"stages[{number}]", one, stage)

    def _stage(self, where: str, expected: ExpectedStage, stage: Stage) -> None:
        where = f"{where} ({stage.name})"
        if expected.status is not None:
            self._same(f"{where}.status", expected.status, stage.status)
        self._text(f"{where}.error", expected.error, stage.error)
        if expected.duration is not None:
            found = None if stage.ended is None else shown(stage.ended - stage.started)
            self._duration(f"{where}.duration", expected.duration, found)
        if expected.input is not None:
            self._part(f"{where}.input", expected.input, stage.input)
        if expected.activities is not None:
            self._activities(f"{where}.activities", expected.activities, stage.activities)

    def _activities(self, where: str, expected: Sequence[str | ExpectedActivity], found: Sequence[Activity]) -> None:
        wanted = [ExpectedActivity(name=one) if isinstance(one, str) else one for one in expected]  # type: ignore[arg-type]
        if [one.name for one in wanted] != [activity.name for activity in found]:
            self._names(where, [one.name for one in wanted], [activity.name for activity in found])
        for number, (one, activity) in enumerate(zip(wanted, found, strict=False)):
            if one.name == activity.name:
                self._activity(f"{where}[{number}] ({one.name})", one, activity)

    def _activity(self, where: str, expected: ExpectedActivity, activity: Activity) -> None:
        if expected.attempts is not None:
            self._same(f"{where}.attempts", expected.attempts, activity.attempts)
        if expected.errors is not None:
            if len(expected.errors) != len(activity.errors):
                self._differ(
                    f"{where}.errors", _listed([_told(one) for one in expected.errors]), _listed(activity.errors)
                )
            for number, (one, error) in enumerate(zip(expected.errors, activity.errors, strict=False)):
                self._text(f"{where}.errors[{number}]", one, error)
        if expected.input is not None:
            self._part(f"{where}.input", expected.input, activity.input)
        if expected.output is not msgspec.UNSET:
            self._part(f"{where}.output", expected.output, activity.output)

    # What is in the stack

    def _account(self, ledger: str, address: str, expected: Account) -> None:
        where = f"ledgers.{ledger}.{address}"
        try:
            self._balances(where, expected.balances, lambda asset: self._books.balance(ledger, address, asset))
            if expected.metadata:
                self._part(f"{where}.metadata", expected.metadata, self._books.metadata(ledger, address))
        except LookupError as error:
            self._differ(where, "an account", str(error))

    def _wallet(self, wallet: str, expected: ExpectedWallet) -> None:
        for balance, amounts in expected.balances.items():
            where = f"wallets.{wallet}.balances.{balance}"
            try:
                self._balances(where, amounts, lambda asset: self._books.wallet_balance(wallet, balance, asset))  # noqa: B023
            except LookupError as error:
                self._differ(where, "a balance", str(error))

    def _balances(self, where: str, expected: Amounts, read: Any) -> None:
        for asset, amount in expected.items():
            self._same(f"{where}.{asset}", amount, read(asset))

    def _transfers(self, expected: Sequence[Transfer]) -> None:
        transfers = self._books.transfers()
        if len(expected) != len(transfers):
            self._differ("transfers", f"{len(expected)}", f"{len(transfers)}: {_json(transfers)}")
        for number, (one, transfer) in enumerate(zip(expected, transfers, strict=False)):
            self._part(f"transfers[{number}]", msgspec.to_builtins(one), transfer)

    # Values

    def _same(self, where: str, expected: Any, found: Any) -> None:
        if expected != found or type(expected) is not type(found):
            self._differ(where, _shown(expected), _shown(found))

    def _duration(self, where: str, expected: str, found: str | None) -> None:
        if self._timed and (found is None or read_duration(expected) != read_duration(found)):
            self._differ(where, expected, found or "that it has not ended")

    def _text(self, where: str, expected: ExpectedText | None, found: str | None) -> None:
        match expected:
            case Containing(contains=part) if part not in (found or ""):
                self._differ(where, _told(expected), _shown(found))
            case str() if expected != found:
                self._differ(where, _told(expected), _shown(found))

    def _part(self, where: str, expected: Any, found: Any) -> None:
        """Compare parts: of objects those keys that are expected, of lists all items."""
        if isinstance(expected, dict) and isinstance(found, dict):
            for key, value in expected.items():
                if key in found:
                    self._part(f"{where}.{key}", value, found[key])
                else:
                    self._differ(f"{where}.{key}", _shown(value), "nothing")
        elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
            for number, (one, other) in enumerate(zip(expected, found, strict=True)):
                self._part(f"{where}[{number}]", one, other)
        else:
            self._same(where, expected, found)

    def _names(self, where: str, expected: Sequence[str], found: Sequence[str]) -> None:
        self._differ(where, _listed(expected), _listed(found))

    def _differ(self, where: str, expected: str, found: str) -> None:
        self.differences.append(Difference(where, expected, found))


def _told(expected: ExpectedText) -> str:
    return _json(expected) if isinstance(expected, str) else f"a text with {_json(expected.contains)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _shown(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) and value.isidentifier() else _json(value)


def _json(value: Mapping[str, Any] | Any) -> str:
    return msgspec.json.encode(value).decode()
