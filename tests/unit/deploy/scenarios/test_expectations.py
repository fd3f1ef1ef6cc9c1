"""How differences are told: what was expected, what was found."""

from pathlib import Path

import pytest

from deploy.scenarios.expectations import Comparison
from deploy.scenarios.model import Expect
from deploy.scenarios.play import play
from tests.unit.deploy.scenarios.told import cases, result

CREDIT = "GetWallet, CreateTransaction, CreditWallet"
TEXT = """
workflow:
  stages:
    - send:
        source: {account: {id: users:1}}
        destination: {wallet: {id: alice}}
        amount: {amount: 70, asset: EUR/2}
        metadata: {order: A-1}
    - wait_event: {event: approved}
    - send:
        source: {wallet: {id: alice}}
        destination: {payment: {psp: stripe, type: PAYOUT, metadata: bank}}
        amount: {amount: 20, asset: EUR/2}
    - update: {account: {id: users:1, ledger: default, metadata: {paid: "true"}}}
scenarios:
- name: it
  given:
    ledgers: {default: {users:1: {balances: {EUR/2: 100}}}}
    wallets: {alice: {metadata: {bank: acct_1}}}
  events: [{event: approved, after: 1h}]
  faults: [{activity: CreditWallet, message: away, times: 2}]
  expect:
"""


@pytest.mark.parametrize(
    ("expect", "lines"),
    [
        ("{}", []),
        ("{outcome: succeeded, duration: 60m3s}", []),
        ("{outcome: failed, error: away}", [
            "outcome: expected failed, but found succeeded",
            'error: expected "away", but found none',
        ]),
        ("{outcome: failed, error: {contains: aw}}", [
            "outcome: expected failed, but found succeeded",
            'error: expected a text with "aw", but found none',
        ]),
        ("{outcome: waiting, waitsFor: approved}", [
            "outcome: expected waiting, but found succeeded",
            "waitsFor: expected approved, but found none",
        ]),
        ("{duration: 1h}", ["duration: expected 1h, but found 1h0m3s"]),
        ("{stages: [send, {REST}]}", []),
        ("{stages: [send, send, update]}", [
            "stages: expected send, send, update, but found send, wait_event, send, update",
        ]),
        ("{stages: []}", ["stages: expected none, but found send, wait_event, send, update"]),
        ("{stages: [{name: send, status: failed, error: x, duration: 2s}, {REST}]}", [
            "stages[0] (send).status: expected failed, but found succeeded",
            'stages[0] (send).error: expected "x", but found none',
            "stages[0] (send).duration: expected 2s, but found 3s",
        ]),
        ("{stages: [{name: send, input: {metadata: {order: A-2}, amount: {amount: 70}}}, {REST}]}", [
            'stages[0] (send).input.metadata.order: expected "A-2", but found "A-1"',
        ]),
        ("{stages: [{name: send, activities: {CREDIT}}, {REST}]}", []),
        ("{stages: [{name: send, activities: [GetWallet, CreditWallet]}, {REST}]}", [
            "stages[0] (send).activities: expected GetWallet, CreditWallet, but found {CREDIT}",
        ]),
        ("{activities: [GetWallet, CreateTransaction, "
         "{name: CreditWallet, attempts: 3, errors: [away, {contains: wa}]}, "
         "GetWallet, DebitWallet, CreateTransferInitiation, AddAccountMetadata]}", []),
        ("{activities: [GetWallet, CreateTransaction, {name: CreditWallet, attempts: 1, errors: [gone]}, "
         "GetWallet, DebitWallet, "
         "{name: CreateTransferInitiation, input: {amount: 21, more: 1}}, AddAccountMetadata]}", [
            "activities[2] (CreditWallet).attempts: expected 1, but found 3",
            'activities[2] (CreditWallet).errors: expected "gone", but found away, away',
            'activities[2] (CreditWallet).errors[0]: expected "gone", but found away',
            "activities[5] (CreateTransferInitiation).input.amount: expected 21, but found 20",
            "activities[5] (CreateTransferInitiation).input.more: expected 1, but found nothing",
        ]),
        ("{activities: [{name: GetWallet, output: {data: {name: bob}}}, CreateTransaction, "
         "{name: CreditWallet, output: null}, GetWallet, DebitWallet, CreateTransferInitiation, AddAccountMetadata]}", [
            "activities[0] (GetWallet).output.data.name: expected bob, but found alice",
        ]),
        ("{ledgers: {default: {users:1: {balances: {EUR/2: 30, USD/2: 0}, metadata: {paid: 'true'}}, x: {}}}}", []),
        ("{ledgers: {default: {users:1: {balances: {EUR/2: 31}, metadata: {paid: x, more: y}}}}}", [
            "ledgers.default.users:1.EUR/2: expected 31, but found 30",
            "ledgers.default.users:1.metadata.paid: expected x, but found true",
            "ledgers.default.users:1.metadata.more: expected y, but found nothing",
        ]),
        ("{ledgers: {shop: {users:1: {balances: {EUR/2: 0}}}}}", [
            "ledgers.shop.users:1: expected an account, but found ledger 'shop' not found",
        ]),
        ("{wallets: {alice: {balances: {main: {EUR/2: 50}}}}}", []),
        ("{wallets: {alice: {balances: {main: {EUR/2: 70}}}, bob: {balances: {main: {EUR/2: 0}}}}}", [
            "wallets.alice.balances.main.EUR/2: expected 70, but found 50",
            "wallets.bob.balances.main: expected a balance, but found wallet 'bob': wallet not found",
        ]),
        ("{transfers: [{amount: 20, destination: acct_1, provider: STRIPE, source: ''}]}", []),
        ("{transfers: [{type: PAYOUT, status: VALIDATED, asset: EUR/2}]}", []),
        ("{transfers: [{amount: 21}]}", ["transfers[0].amount: expected 21, but found 20"]),
    ],
)  # fmt: skip
def test_differences(tmp_path: Path, expect: str, lines: list[str]) -> None:
    expect = expect.replace("{CREDIT}", f"[{CREDIT}]").replace("{REST}", "wait_event, send, update")
    lines = [line.replace("{CREDIT}", CREDIT) for line in lines]
    assert list(result(tmp_path, f"{TEXT}    {expect}\n").failures) == lines


def test_transfers_are_counted(tmp_path: Path) -> None:
    (line,) = result(tmp_path, f"{TEXT}    {{transfers: []}}\n").failures
    assert line.startswith('transfers: expected 0, but found 1: [{"amount":20,')


def test_durations_are_not_compared_where_time_is_real(tmp_path: Path) -> None:
    (case,) = cases(tmp_path, f"{TEXT}    {{}}\n")
    played = play(case)
    assert Comparison(played.story, played.books, timed=False).compare(Expect(duration="5h")) == []
