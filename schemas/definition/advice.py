"""What is allowed, and surely not what somebody wants: of stages that could be read.

Nothing is said where a variable decides.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schemas.definition.delay import Delay
from schemas.definition.ends import MAIN_BALANCE, AccountEnd, PaymentSource, WalletEnd
from schemas.definition.errors import Path, shown_path
from schemas.definition.findings import Report
from schemas.definition.instants import format_instant
from schemas.definition.ledger_texts import ADDRESS, ASSET
from schemas.definition.send import Destination, Send, Source
from schemas.definition.stages import ResolvedStage
from schemas.definition.suggestions import as_asset, as_reference
from schemas.definition.text import has_reference, quoted
from schemas.definition.update import Update
from schemas.definition.wait_event import WaitEvent


class Advice:
    """Looks at the stages of one definition, one after another.

    Args:
        report: takes the warnings.
        now: what is before it is past.
    """

    def __init__(self, report: Report, now: datetime) -> None:
        self._report = report
        self._now = now
        self._awaited: dict[str, Path] = {}
        self._ledgers: dict[str, tuple[Path, str]] = {}
        self._holdings: dict[tuple[str, str], str] = {}

    def give(self, path: Path, values: Mapping[str, Any], stage: ResolvedStage) -> None:
        """Warn about a stage.

        Args:
            path: where it is, its name included.
            values: its fields as given.
            stage: what was read from them, without variables.
        """
        match stage:
            case Delay():
                self._delay(path, values, stage)
            case WaitEvent():
                self._wait_event(path, stage)
            case Send():
                self._send(path, values, stage)
            case Update():
                self._update(path, values, stage)

    def _delay(self, path: Path, values: Mapping[str, Any], stage: Delay) -> None:
        name = "duration" if stage.until is None else "until"
        if has_reference(values[name]):
            return
        if stage.until is not None and stage.until <= self._now:
            message = f"{format_instant(stage.until)} is in the past, so the stage ends at once"
            self._report.warn((*path, name), message)
        if stage.duration_nanoseconds is not None and stage.duration_nanoseconds <= 0:
            self._report.warn((*path, name), "the duration is not above zero, so the stage ends at once")

    def _wait_event(self, path: Path, stage: WaitEvent) -> None:
        first = self._awaited.setdefault(stage.event, path[:2])
        if first != path[:2]:
            message = (
                f"{shown_path(first)} waits for {quoted(stage.event)} too, and an event ends one stage: "
                "this one needs another event of that name"
            )
            self._report.warn((*path, "event"), message)

    def _send(self, path: Path, values: Mapping[str, Any], stage: Send) -> None:
        for place, end in (((*path, "source"), stage.source), ((*path, "destination"), stage.destination)):
            self._end((*place, end.kind), end)
        if stage.amount is not None:
            self._asset((*path, "amount", "asset"), stage.amount.asset)
        match stage:
            case Send(source=AccountEnd() as source, destination=AccountEnd() as destination):
                self._transfer(path, source, destination)
            case Send(source=WalletEnd() as source, destination=WalletEnd() as destination):
                self._between_wallets(path, source, destination)

    def _end(self, path: Path, end: Source | Destination) -> None:
        match end:
            case AccountEnd():
                self._ledgers.setdefault(end.id, (path, end.ledger))
                self._address((*path, "id"), end.id)
                self._address((*path, "throughAccount"), end.through_account)
            case PaymentSource():
                self._address((*path, "throughAccount"), end.through_account)
                if end.holding_account:
                    self._address((*path, "holdingAccount"), end.holding_account)
                    self._holding((*path, "holdingAccount"), end)

    def _holding(self, path: Path, payment: PaymentSource) -> None:
        # Its name is the transaction's reference, which a ledger takes once (contract: `workflows`, "`send`, by pair").
        first = self._holdings.setdefault((payment.ledger, payment.holding_account), payment.id)
        is_shared = has_reference(payment.id) and not has_reference(payment.holding_account)
        if is_shared or first != payment.id:
            message = (
                "each payment needs an account of its own: "
                "of all that share one, the first is ingested, and the others count as ingested before"
            )
            self._report.warn(path, message)

    def _address(self, path: Path, text: str) -> None:
        if not has_reference(text) and ADDRESS.fullmatch(text) is None:
            message = f"no ledger takes {quoted(text)} as an address, which is like users:7: letters, digits, _ and -"
            self._report.warn(path, message, as_reference(text))

    def _asset(self, path: Path, text: str) -> None:
        if not has_reference(text) and ASSET.fullmatch(text) is None:
            message = f"no ledger takes {quoted(text)} as an asset, which is like EUR/2: capitals, then its decimals"
            self._report.warn(path, message, as_asset(text))

    def _update(self, path: Path, values: Mapping[str, Any], stage: Update) -> None:
        self._address((*path, "account", "id"), stage.account)
        first, ledger = self._ledgers.get(stage.account, (path, stage.ledger))
        if ledger != stage.ledger and not values["account"].get("ledger"):
            message = (
                f"without `ledger` this is an account of ledger {quoted(stage.ledger)}, "
                f"but {shown_path(first)} is on ledger {quoted(ledger)}"
            )
            self._report.warn((*path, "account"), message)

    def _between_wallets(self, path: Path, source: WalletEnd, destination: WalletEnd) -> None:
        # The contract has the balance `main` here, whatever the stage says (`workflows`, "`send`, by pair").
        if source.balance != MAIN_BALANCE and not has_reference(source.balance):
            message = (
                f"has no effect between wallets of one ledger: the money comes from the balance {quoted(MAIN_BALANCE)}"
            )
            self._report.warn((*path, "source", "wallet", "balance"), message)
        if (source.id, source.name, MAIN_BALANCE) == (destination.id, destination.name, destination.balance):
            self._report.warn(path, "source and destination are the same wallet")

    def _transfer(self, path: Path, source: AccountEnd, destination: AccountEnd) -> None:
        if source.ledger != destination.ledger:
            return
        if source.id == destination.id:
            self._report.warn(path, "source and destination are the same account")
        for end, account in (("source", source), ("destination", destination)):
            if account.allow_overdraft:
                message = "has no effect between two accounts of one ledger"
                self._report.warn((*path, end, "account", "allowOverdraft"), message, at_key=True)
