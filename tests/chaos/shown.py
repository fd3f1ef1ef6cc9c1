"""What the API shows of an instance is what the log says, in the shapes of the contract (`workflows`, `http-api`)."""

from datetime import datetime
from typing import Any

from tests.integration.http_client import Client, Json
from tests.simulation.history import ActivityRun, History

ANSWERED_FIELDS = {"id", "txid", "postings", "metadata", "timestamp", "reverted", "reference"}


async def check_shown(client: Client, instance_id: str, history: History) -> None:
    """The histories of an instance over HTTP."""
    instance = await client.instance(instance_id)
    assert instance["terminated"] == history.ended
    assert instance.get("error") == history.error
    stages = (await client.get(f"/instances/{instance_id}/history")).data
    # What a retry has left behind comes before the stage that it begins again.
    expected = sorted((*history.past, *history.stages), key=lambda stage: stage.number)
    assert [(s["name"], s["input"], s["terminated"], s.get("error")) for s in stages] == [
        (s.name, s.input, s.ended, s.error) for s in expected
    ]
    begun_again = {stage.number for stage in history.past}
    for stage in history.stages:
        if stage.number in begun_again:
            continue
        shown = (await client.get(f"/instances/{instance_id}/stages/{stage.number}/history")).data
        assert len(shown) == len(stage.activities)
        for got, activity in zip(shown, stage.activities, strict=True):
            check_activity(got, activity)


def check_activity(shown: Json, activity: ActivityRun) -> None:
    """An activity as the history shows it."""
    name = activity.name
    assert shown["name"] == name
    assert shown["input"] == {name: shown_input(name, activity.input)}, f"{shown['input']}, not {activity.input}"
    check_input(name, shown["input"][name])
    assert shown["terminated"] == activity.ended == ("terminatedAt" in shown)
    assert shown["attempt"] == activity.attempt
    assert shown.get("lastFailure") == (activity.failures[-1] if activity.failures else None)
    assert datetime.fromisoformat(shown["startedAt"]) == activity.not_before[0, 1]
    assert shown.get("error") == activity.error
    assert shown.get("output") == (None if activity.output is None else {name: activity.output})
    if activity.output is not None:
        check_output(name, shown["output"][name])


def shown_input(name: str, recorded: Json) -> Json:
    """An input as the history shows it: that of a transaction has its fields in a second spelling too."""
    if name != "CreateTransaction":
        return recorded
    return {**recorded, "Ledger": recorded["ledger"], "Data": recorded["data"]}


def check_input(name: str, given: Any) -> None:
    """Maps and lists that generated clients require are there, never `null`, in both spellings."""
    if name == "CreateTransaction":
        assert set(given) == {"ledger", "data", "Ledger", "Data"}
        assert (given["Ledger"], given["Data"]) == (given["ledger"], given["data"])
        assert ("postings" in given["data"]) != ("script" in given["data"])
        assert isinstance(given["data"]["metadata"], dict)
        assert set(given["data"]) <= {"postings", "script", "metadata", "reference", "timestamp"}
    elif name in ("CreditWallet", "DebitWallet"):
        assert set(given) == {"id", "data"}
        assert isinstance(given["data"]["metadata"], dict)
        assert isinstance(given["data"]["sources" if name == "CreditWallet" else "balances"], list)
    elif name in ("CreateTransferInitiation", "AddAccountMetadata"):
        assert isinstance(given["metadata"], dict)
    elif name == "GetAccount":
        assert set(given) == {"id", "ledger"}
    else:
        assert set(given) == {"name" if name == "ListWallets" else "id"}


def check_output(name: str, output: Any) -> None:
    """What an activity that succeeded answers."""
    if name == "ListWallets":
        assert isinstance(output["cursor"]["data"], list)
    elif name == "CreateTransaction":
        (transaction,) = output["data"]
        assert ANSWERED_FIELDS - {"reference"} <= set(transaction) <= ANSWERED_FIELDS
        assert transaction["id"] == transaction["txid"]
        assert isinstance(transaction["metadata"], dict)
    else:
        assert name in ("GetAccount", "GetPayment", "GetWallet"), f"{name} has no output"
        assert isinstance(output["data"], dict)
