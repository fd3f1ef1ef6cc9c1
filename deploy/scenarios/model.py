"""What a scenario file may hold. The reader, the JSON Schema and the reference in the docs all follow from this module.

A field that is a duration, a moment or a text of a certain kind says so in its `Meta(extra=…)`, see `reading`.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from deploy.sandbox.values import ADDRESS_PATTERN, ASSET_PATTERN

MAX_SCENARIOS: Final = 10_000
"""Most scenarios of one file."""

DURATION: Final = "duration"
MOMENT: Final = "moment"
INSTANT: Final = "instant"
ASSET: Final = "asset"
ADDRESS: Final = "address"
ID: Final = "id"
BALANCE: Final = "balance"
"""Kinds of texts, each of which is read by rules of its own; see `reading`."""

Duration = Annotated[str, Meta(extra={"kind": DURATION}, examples=["90s", "1h30m", "720h"])]
Moment = Annotated[str, Meta(extra={"kind": MOMENT}, examples=["90s", "720h", "2026-03-01T10:00:00Z"])]
Instant = Annotated[str, Meta(extra={"kind": INSTANT}, examples=["2026-03-01T10:00:00Z"])]
Name = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1)]
Status = Annotated[int, Meta(ge=400, le=599)]
Asset = Annotated[str, Meta(pattern=rf"^{ASSET_PATTERN}\Z", extra={"kind": ASSET}, examples=["EUR/2"])]
Address = Annotated[str, Meta(pattern=rf"^{ADDRESS_PATTERN}\Z", extra={"kind": ADDRESS}, examples=["users:7"])]
LedgerName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,63}\Z", extra={"kind": ID}, examples=["default"])]
BalanceName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]+\Z", extra={"kind": BALANCE}, examples=["main"])]
Id = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]+\Z", extra={"kind": ID}, examples=["alice"])]

Amounts = Annotated[
    dict[Asset, int], Meta(description="Asset: amount in its smallest unit, such as `EUR/2: 1250` for 12.50 euros.")
]
Texts = dict[str, str]

StageName = Literal["send", "wait_event", "delay", "update", "noop"]
ActivityName = Literal[
    "GetAccount",
    "AddAccountMetadata",
    "CreateTransaction",
    "GetPayment",
    "CreateTransferInitiation",
    "GetWallet",
    "ListWallets",
    "CreditWallet",
    "DebitWallet",
]
"""A test compares them with the engine's."""

Outcome = Literal["succeeded", "failed", "aborted", "waiting", "delayed", "retrying", "paused", "running"]
StageStatus = Literal["succeeded", "failed", "aborted", "waiting", "delayed", "retrying", "paused", "running"]


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """Base of everything in a scenario file."""


class Account(Model, frozen=True, kw_only=True):
    """An account of a ledger."""

    balances: Annotated[Amounts, Meta(description="Money in the account, by asset. Below zero is possible.")] = {}
    metadata: Annotated[Texts, Meta(description="Metadata of the account.")] = {}


class Wallet(Model, frozen=True, kw_only=True):
    """A wallet. Its key in the file is its id, which the workflow gets in a variable."""

    name: Annotated[
        Name | None, Meta(description="Its name, by which `wallet: {name: …}` finds it; the id if not given.")
    ] = None
    metadata: Annotated[Texts, Meta(description="Metadata of the wallet.")] = {}
    balances: Annotated[
        dict[BalanceName, Amounts], Meta(description="Money in it, by balance: `main: {EUR/2: 1250}`.")
    ] = {}


class Payment(Model, frozen=True, kw_only=True):
    """A payment that has come in. Its key in the file is its id."""

    amount: Annotated[int, Meta(ge=0, description="What was paid, in the asset's smallest unit.")]
    asset: Annotated[Asset, Meta(description="Such as `EUR/2`.")]


class Stack(Model, frozen=True, kw_only=True):
    """What is in ledgers, wallets and payments."""

    ledgers: Annotated[
        dict[LedgerName, dict[Address, Account]],
        Meta(description="Accounts by ledger and address: `default: {users:7: {balances: {EUR/2: 1000}}}`."),
    ] = {}
    wallets: Annotated[dict[Id, Wallet], Meta(description="Wallets by id.")] = {}
    payments: Annotated[dict[Name, Payment], Meta(description="Payments that have come in, by id.")] = {}


class Arrival(Stack, frozen=True, kw_only=True):
    """What comes into ledgers, wallets and payments later. Amounts are added to what is there."""

    at: Annotated[Moment, Meta(description="When: so long after the start, or a date and time.")]


class Event(Model, frozen=True, kw_only=True):
    """An event that is sent to the instance."""

    event: Annotated[Name, Meta(description="Its name.")]
    at: Annotated[
        Moment | None,
        Meta(description="When: so long after the start, or a date and time. If not given, when the instance waits."),
    ] = None
    after: Annotated[
        Duration | None, Meta(description="How long after the instance has begun to wait for it. Not beside `at`.")
    ] = None


class Fault(Model, frozen=True, kw_only=True):
    """Calls of the stack that go wrong."""

    activity: Annotated[ActivityName, Meta(description="The activity whose calls go wrong.")]
    call: Annotated[
        Count,
        Meta(
            description="The first call of this activity that goes wrong, from 1. Every attempt counts, in all stages."
        ),
    ] = 1
    times: Annotated[
        Count | Literal["always"],
        Meta(description="How many calls in a row go wrong; `always`: all that follow."),
    ] = 1
    kind: Annotated[
        Literal["error", "drop", "garbage", "slow"],
        Meta(
            description="`error`: the stack answers with an error. `drop`: the connection breaks without an answer. "
            "`garbage`: the answer can't be read. `slow`: it is done, and the answer comes `delay` later."
        ),
    ] = "error"
    status: Annotated[Status | None, Meta(description="HTTP status of an `error`; 500 if not given.")] = None
    code: Annotated[
        str | None,
        Meta(
            description="errorCode of an `error`; `INTERNAL_ERROR` if not given. After some, such as `VALIDATION`, "
            "the call is not tried again."
        ),
    ] = None
    message: Annotated[str | None, Meta(description="errorMessage of an `error`: what the history shows.")] = None
    delay: Annotated[
        Duration | None, Meta(description="How late the answer of a `slow` call is. An attempt may take 60 s.")
    ] = None
    done: Annotated[
        bool | None,
        Meta(
            description="Whether the stack has done what it was told, although the call goes wrong; false if not given."
        ),
    ] = None


class Containing(Model, frozen=True, kw_only=True):
    """A text that has to occur in another."""

    contains: Annotated[Name, Meta(description="The text that has to occur.")]


ExpectedText = Name | Containing


class ExpectedActivity(Model, frozen=True, kw_only=True):
    """An activity as it should have been. What is not given is not compared."""

    name: Annotated[ActivityName, Meta(description="Which activity.")]
    input: Annotated[
        dict[str, Any] | None,
        Meta(description="Parts of its input, as the history of the stage shows it; objects may have further keys."),
    ] = None
    output: Annotated[Any, Meta(description="Parts of its output, likewise; null: it has none.")] = msgspec.UNSET
    attempts: Annotated[Count | None, Meta(description="How often it was tried.")] = None
    errors: Annotated[
        list[ExpectedText] | None,
        Meta(description="The errors of the attempts that failed, in order; `[]`: none failed."),
    ] = None


class ExpectedStage(Model, frozen=True, kw_only=True):
    """A stage as it should have been. What is not given is not compared."""

    name: Annotated[StageName, Meta(description="Which stage, as in the workflow.")]
    status: Annotated[StageStatus | None, Meta(description="How it ended, or what it is doing in the end.")] = None
    error: Annotated[ExpectedText | None, Meta(description="The error it failed with, or `{contains: text}`.")] = None
    duration: Annotated[
        Duration | None, Meta(description="How long it took, exactly. Calls take no time unless they are slow.")
    ] = None
    input: Annotated[
        dict[str, Any] | None, Meta(description="Parts of its input, as the history of the instance shows it.")
    ] = None
    activities: Annotated[
        list[ActivityName | ExpectedActivity] | None,
        Meta(description="All activities of the stage, in order. A name alone is enough."),
    ] = None


class Transfer(Model, frozen=True, kw_only=True):
    """A transfer that the payments service was told to make. What is not given is not compared."""

    amount: Annotated[int | None, Meta(description="How much, in the asset's smallest unit.")] = None
    asset: Annotated[Asset | None, Meta(description="Such as `EUR/2`.")] = None
    destination: Annotated[Name | None, Meta(description="The account that is paid to.")] = None
    source: Annotated[str | None, Meta(description="The provider's account that pays.")] = None
    provider: Annotated[
        Name | None, Meta(description="The payment service provider, in capitals, such as `STRIPE`.")
    ] = None
    type: Annotated[Literal["TRANSFER", "PAYOUT"] | None, Meta(description="`TRANSFER` or `PAYOUT`.")] = None
    status: Annotated[
        Literal["VALIDATED", "WAITING_FOR_VALIDATION"] | None,
        Meta(description="`WAITING_FOR_VALIDATION` if somebody has to approve it first."),
    ] = None


class ExpectedWallet(Model, frozen=True, kw_only=True):
    """A wallet as it should be in the end."""

    balances: Annotated[
        dict[BalanceName, Amounts], Meta(description="Money in it, by balance: `main: {EUR/2: 750}`.")
    ] = {}


class Expect(Model, frozen=True, kw_only=True):
    """What should come of it. What is not given is not compared."""

    outcome: Annotated[
        Outcome,
        Meta(
            description="How the instance ends, or what it is doing when nothing happens any more: `waiting` for an "
            "event, `retrying` a call, `paused` behind its last attempt; or `delayed`, or `running` a slow call, if "
            "`until` comes first."
        ),
    ] = "succeeded"
    error: Annotated[ExpectedText | None, Meta(description="The error it ends with, or `{contains: text}`.")] = None
    duration: Annotated[Duration | None, Meta(description="How long it took from start to end, exactly.")] = None
    waits_for: Annotated[Name | None, Meta(description="The event that it waits for in the end.")] = None
    stages: Annotated[
        list[StageName | ExpectedStage] | None,
        Meta(description="All stages that have started, in order. A name alone is enough."),
    ] = None
    activities: Annotated[
        list[ActivityName | ExpectedActivity] | None,
        Meta(description="All activities of all stages, in order. A name alone is enough."),
    ] = None
    ledgers: Annotated[
        dict[LedgerName, dict[Address, Account]],
        Meta(description="Accounts as they should be in the end. Only what is named is compared."),
    ] = {}
    wallets: Annotated[dict[Id, ExpectedWallet], Meta(description="Wallets, likewise.")] = {}
    transfers: Annotated[
        list[Transfer] | None,
        Meta(description="All transfers that the payments service was told to make, in order; `[]`: none."),
    ] = None


class Setup(Model, frozen=True, kw_only=True):
    """What a scenario begins with, and what comes from outside."""

    starts: Annotated[
        Instant | None,
        Meta(description="The date and time when the instance starts; `2026-01-01T00:00:00Z` if not given."),
    ] = None
    variables: Annotated[Texts, Meta(description="Variables that the instance is started with.")] = {}
    given: Annotated[Stack, Meta(description="What is in ledgers, wallets and payments before.")] = Stack()
    arrivals: Annotated[list[Arrival] | None, Meta(description="What comes into them later.")] = None
    events: Annotated[
        list[Name | Event] | None,
        Meta(description="Events that are sent to the instance. A name alone: once the instance waits for it."),
    ] = None
    faults: Annotated[list[Fault] | None, Meta(description="Calls of the stack that go wrong.")] = None
    abort: Annotated[
        Moment | None, Meta(description="When the instance is aborted: so long after the start, or a date and time.")
    ] = None
    until: Annotated[
        Moment | None,
        Meta(description="How long the instance is looked at; if not given, until it has ended or waits in vain."),
    ] = None


class Scenario(Setup, frozen=True, kw_only=True):
    """One run of the workflow, and what should come of it."""

    name: Annotated[Name, Meta(description="What it shows, in a few words. No two of a file have the same.")]
    expect: Annotated[Expect, Meta(description="What should come of it; that it succeeds if not given.")] = Expect()


class ScenarioFile(Model, frozen=True, kw_only=True):
    """Scenarios of one workflow."""

    workflow: Annotated[
        Name | dict[str, Any],
        Meta(
            description="The workflow: a file, named from where this one is, or the workflow itself (`{stages: […]}`)."
        ),
    ]
    defaults: Annotated[
        Setup,
        Meta(
            description="What all scenarios begin with. Variables, accounts, wallets and payments of a scenario come "
            "beside these, or in their place if they have the same name; other fields replace those here."
        ),
    ] = Setup()
    scenarios: Annotated[list[Scenario], Meta(min_length=1, max_length=MAX_SCENARIOS, description="The scenarios.")]
