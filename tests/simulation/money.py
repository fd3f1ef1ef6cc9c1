"""Money: what the stack's books hold against what the log says, whichever stack and log they come from.

Every `send` of these tests carries metadata `mark`, a text of its own, which the service puts on every transaction,
debit, credit and transfer. So an entry of the books tells its stage without any idempotency key, and these checks hold
for the simulated stack as for the sandbox behind a real installation.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.core.errors import StageFailed
from engine.core.send import next_activity
from schemas.activities import (
    CREATE_TRANSACTION,
    CREATE_TRANSFER_INITIATION,
    CREDIT_WALLET,
    DEBIT_WALLET,
    GET_PAYMENT,
)
from schemas.definition import Send, StageUnresolvable, Update, resolve_stage
from schemas.events import CANCELED
from tests.simulation.history import ActivityRun, History, StageRun

WORLD = "world"
INTERNAL_LEDGER = "orchestration-000-internal"
BANK = "(bank)"
"""Stands for the ledger of money that has left by a transfer initiation."""
OVERDRAFT = re.compile(
    r"send \[(\S+) (\d+)\] \(\n  source = @(\S+) allowing unbounded overdraft\n  destination = @(\S+)\n\)"
)

Posting = tuple[str, str, int, str]
"""Source, destination, amount, asset."""
Account = tuple[str, str]
"""Ledger and address."""


class Entry(NamedTuple):
    """A transaction, or a transfer initiation on the ledger `BANK`."""

    ledger: str
    posting: Posting
    metadata: frozenset[tuple[str, str]]
    reference: str

    @property
    def mark(self) -> str:
        """Which stage it belongs to."""
        return dict(self.metadata)["mark"]


@dataclass
class Books:
    """All that a stack has done, and the balances that it shows."""

    entries: list[Entry] = field(default_factory=list)
    balances: dict[tuple[Account, str], int] = field(default_factory=dict)
    """By account and asset."""

    def add_transaction(self, ledger: str, shown: Mapping[str, Any]) -> None:
        """Take in a transaction as the ledger shows it."""
        (p,) = shown["postings"]
        posting = (p["source"], p["destination"], p["amount"], p["asset"])
        self.entries.append(Entry(ledger, posting, _items(shown["metadata"]), shown.get("reference") or ""))

    def add_transfer(self, shown: Mapping[str, Any]) -> None:
        """Take in a transfer initiation as the payments service shows it."""
        posting = (WORLD, shown["destinationAccountID"], shown["amount"], shown["asset"])
        self.entries.append(Entry(BANK, posting, _items(shown["metadata"]), shown["reference"]))


def check_money(histories: Mapping[str, History], books: Books) -> Counter[str]:
    """Everything below.

    Args:
        histories: by instance id, all that have ever run against the stack.
        books: of the stack.

    Returns:
        How often each situation was met, in words.
    """
    check_balances(histories, books)
    required: Counter[Entry] = Counter()
    possible: Counter[Entry] = Counter()
    calls: dict[tuple[str, int, int, int], tuple[Entry, set[str]]] = {}
    flows = _flows(books)
    met: Counter[str] = Counter()
    for instance_id, history in histories.items():
        for stage in (*history.past, *history.stages):
            check_plan(history, stage)
            for index, activity, entry in _entries(instance_id, stage):
                # In all passes together, the calls with one key are carried out once.
                key = (instance_id, stage.number, index, activity.key_number)
                calls.setdefault(key, (entry, set()))[1].add(_became(activity))
        for stage in history.stages:
            if stage.name == "RunSend":
                met += _situations(stage)
                if stage.ended and stage.error is None:
                    check_flow(stage, flows[stage.input["metadata"]["mark"]])
        met["retried"] += history.retries
    for entry, became in calls.values():
        if "done" in became:
            required[entry] += 1
        elif "unknown" in became:
            possible[entry] += 1
    actual = Counter(books.entries)
    assert not required - actual, f"missing: {required - actual}"
    assert not actual - required - possible, f"too much: {actual - required - possible}"
    return met


def _became(activity: ActivityRun) -> str:
    if activity.late_success or (activity.ended and activity.error is None):
        return "done"
    return "unknown" if not activity.ended or activity.error == CANCELED else "refused"


def check_balances(histories: Mapping[str, History], books: Books) -> None:
    """No money is made or lost, balances are what the transactions say, and only who may is below zero."""
    sums: Counter[tuple[Account, str]] = Counter()
    for ledger, (source, destination, amount, asset), _, _ in books.entries:
        if ledger != BANK:
            sums[(ledger, source), asset] -= amount
            sums[(ledger, destination), asset] += amount
    assert {key: amount for key, amount in books.balances.items() if amount} == {k: v for k, v in sums.items() if v}
    totals: Counter[tuple[str, str]] = Counter()
    for ((ledger, _), asset), amount in books.balances.items():
        totals[ledger, asset] += amount
    assert not any(totals.values()), totals
    may_overdraw = {
        (activity.input["ledger"], match[3])
        for history in histories.values()
        for activity in (a for stage in (*history.past, *history.stages) for a in stage.activities)
        if activity.name == CREATE_TRANSACTION and (match := _script(activity))
    }
    for (account, _), amount in books.balances.items():
        assert amount >= 0 or account[1] == WORLD or account in may_overdraw, f"{account}: {amount}"


def check_plan(history: History, stage: StageRun) -> None:
    """A stage ran exactly the activities that its plan says, and ended as the plan does."""
    try:
        resolved = resolve_stage(history.definition[stage.number], history.variables)
    except StageUnresolvable as error:
        _check_ended_with(stage, error)
        assert not stage.activities
        return
    if not isinstance(resolved, Send | Update):
        assert not stage.activities
        return
    for count, activity in enumerate(stage.activities):
        assert activity.code != "CONFLICT" or stage.error != activity.error, "an ingested payment counts as success"
        planned = next_activity(resolved, stage.activities[:count])
        assert planned is not None
        assert (planned.name, planned.input) == (activity.name, activity.input)
    if not stage.ended or stage.error == CANCELED:
        return
    try:
        assert next_activity(resolved, stage.activities) is None
        assert stage.error is None
    except StageFailed as failed:
        _check_ended_with(stage, failed)


def _check_ended_with(stage: StageRun, error: Exception) -> None:
    assert stage.error == str(error)


def check_flow(stage: StageRun, flow: Counter[tuple[Account, str]]) -> None:
    """What a stage that succeeded has moved: out of its source and into its destination, whatever lies between."""
    given, found = stage.input, list(_wallets(stage))
    ((source_kind, source),) = given["source"].items()
    ((destination_kind, destination),) = given["destination"].items()
    paid: dict[str, Any] = next((a.output["data"] for a in stage.activities if a.name == GET_PAYMENT), {})
    amount = given.get("amount") or {"amount": paid["initialAmount"], "asset": paid["asset"]}
    expected: Counter[tuple[Account, str]] = Counter()
    passed = {WORLD, source.get("throughAccount"), destination.get("throughAccount")}
    if source_kind == "wallet":
        paying, paid_to = found[0], found[-1] if destination_kind == "wallet" else None
        # The contract: between wallets of one ledger the credit takes from the balance `main`.
        balance = "main" if paid_to and paid_to["ledger"] == paying["ledger"] else source["balance"]
        origin = _balance_account(paying, balance)
    elif source_kind == "account":
        origin = (source["ledger"], source["id"])
    else:
        holding = source.get("holdingAccount") or f"payment:{source['id'].replace('-', '_')}"
        origin = (source.get("ledger") or INTERNAL_LEDGER, holding)
        ingested = stage.activities[1].error is None
        expected[origin, paid["asset"]] += paid["initialAmount"] if ingested else 0
    if destination_kind == "wallet":
        goal = _balance_account(found[-1], destination["balance"])
    elif destination_kind == "account":
        goal = (destination["ledger"], destination["id"])
    else:
        goal = (BANK, stage.activities[-1].input["destination"])
        assert goal[1] == _named_account(stage, destination["metadata"])
    expected[origin, amount["asset"]] -= amount["amount"]
    expected[goal, amount["asset"]] += amount["amount"]
    for end, moved in expected.items():
        assert end[0][1] in passed or flow[end] == moved, f"{end}: {flow[end]} moved, not {moved}"


def _named_account(stage: StageRun, key: str) -> Any:
    looked_up = next((w for w in _wallets(stage)), None)
    if looked_up is None:
        looked_up = next(a.output["data"] for a in stage.activities if a.name == "GetAccount")
    return looked_up["metadata"][key]


def _flows(books: Books) -> defaultdict[str, Counter[tuple[Account, str]]]:
    flows: defaultdict[str, Counter[tuple[Account, str]]] = defaultdict(Counter)
    for entry in books.entries:
        source, destination, amount, asset = entry.posting
        flows[entry.mark][(entry.ledger, source), asset] -= amount
        flows[entry.mark][(entry.ledger, destination), asset] += amount
    return flows


def _entries(instance_id: str, stage: StageRun) -> Iterator[tuple[int, ActivityRun, Entry]]:
    """What each activity of a stage leaves in the books if it is done, by its index."""
    ledgers = {wallet["id"]: wallet["ledger"] for wallet in _wallets(stage)}
    for index, activity in enumerate(stage.activities):
        given = activity.input
        if activity.name == CREATE_TRANSFER_INITIATION:
            posting = (WORLD, given["destination"], given["amount"], given["asset"])
            number = f":{activity.key_number}" if activity.key_number else ""
            reference = f"{instance_id}:{stage.number}:{index}{number}"
            yield index, activity, Entry(BANK, posting, _items(given["metadata"]), reference)
        elif activity.name == CREATE_TRANSACTION:
            data = given["data"]
            yield (
                index,
                activity,
                Entry(given["ledger"], _posting(activity), _items(data["metadata"]), data.get("reference", "")),
            )
        elif activity.name in (CREDIT_WALLET, DEBIT_WALLET):
            data, ledger = given["data"], ledgers[given["id"]]
            yield index, activity, Entry(ledger, _wallet_posting(activity), _items(data["metadata"]), "")


def _posting(activity: ActivityRun) -> Posting:
    if match := _script(activity):
        return match[3], match[4], int(match[2]), match[1]
    (p,) = activity.input["data"]["postings"]
    return p["source"], p["destination"], p["amount"], p["asset"]


def _script(activity: ActivityRun) -> re.Match[str] | None:
    return OVERDRAFT.fullmatch(activity.input["data"].get("script", {}).get("plain", ""))


def _wallet_posting(activity: ActivityRun) -> Posting:
    wallet_id, data = activity.input["id"], activity.input["data"]
    amount = data["amount"]["amount"], data["amount"]["asset"]
    if activity.name == CREDIT_WALLET:
        return (_subject(*data["sources"]), _balance(wallet_id, data["balance"]), *amount)
    (balance,) = data["balances"]
    return (_balance(wallet_id, balance), _subject(*filter(None, [data.get("destination")])), *amount)


def _subject(given: Mapping[str, str] | None = None) -> str:
    if given is None:
        return WORLD
    return given["identifier"] if given["type"] == "ACCOUNT" else _balance(given["identifier"], given["balance"])


def _balance(wallet_id: str, balance: str) -> str:
    return f"wallets:{wallet_id.replace('-', '')}:{balance}"


def _balance_account(wallet: Mapping[str, Any], balance: str) -> Account:
    return wallet["ledger"], _balance(wallet["id"], balance)


def _wallets(stage: StageRun) -> Iterator[dict[str, Any]]:
    """The wallets that a stage has looked up, in order."""
    for activity in stage.activities:
        if activity.name == "GetWallet" and activity.output:
            yield activity.output["data"]
        elif activity.name == "ListWallets" and activity.output:
            yield from activity.output["cursor"]["data"][:1]


def _items(metadata: Mapping[str, str] | None) -> frozenset[tuple[str, str]]:
    return frozenset((metadata or {}).items())


# What was met, so that a test can tell whether it meets what it is for


def _situations(stage: StageRun) -> Counter[str]:
    met: Counter[str] = Counter()
    if stage.error is None:
        names = [a.name for a in stage.activities]
        pair = f"{next(iter(stage.input['source']))} to {next(iter(stage.input['destination']))}"
        met[f"{pair}: {' '.join(name for name in names if not name.startswith(('Get', 'List')))}"] += 1
    for activity in stage.activities:
        met.update(_words(activity))
    if stage.error not in (None, CANCELED):
        met["a stage failed"] += 1
    return met


def _words(activity: ActivityRun) -> Iterable[str]:
    poor = any("insufficient fund" in failure for failure in activity.failures)
    if poor and activity.ended and activity.error is None:
        yield "money came after INSUFFICIENT_FUND"
    if activity.code == "CONFLICT":
        yield "a payment had been ingested before"
    elif activity.code is not None:
        yield "refused for good"
    if activity.error == CANCELED:
        yield "aborted while retrying" if activity.failures else "aborted in the first attempt"
    if activity.late_success:
        yield "a late success"
    elif activity.error == CANCELED and activity.results[activity.current]:
        yield "a late failure"
    if activity.name == CREATE_TRANSACTION and _script(activity):
        yield "overdraft"
