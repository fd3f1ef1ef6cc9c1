"""What happened, line by line, for people."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from deploy.scenarios.story import STAGE_OF, Step, Story
from deploy.scenarios.times import shown
from schemas import events as ev
from schemas.activities import (
    ADD_ACCOUNT_METADATA,
    CREATE_TRANSACTION,
    CREATE_TRANSFER_INITIATION,
    CREDIT_WALLET,
    DEBIT_WALLET,
    GET_ACCOUNT,
)

MAX_LINES: Final = 40
"""Most lines that are shown. A call that is tried a hundred times would hide the rest."""


def timeline(story: Story) -> Sequence[str]:
    """One line for everything that happened, with the time since the start. Of very many the middle is left out."""
    lines = [f"{shown(step.at - story.start):>10}  {text}" for step in story.steps for text in _texts(step)]
    if len(lines) <= MAX_LINES:
        return lines
    half = MAX_LINES // 2
    return [*lines[:half], f"{'…':>10}  {len(lines) - 2 * half} more", *lines[-half:]]


def _texts(step: Step) -> Iterator[str]:
    match step.what:
        case "event":
            yield f"the event {step.detail} is sent"
        case "abort":
            yield "the instance is aborted"
        case "arrival":
            yield f"{step.detail} comes into the stack"
        case ev.InstanceStarted():
            yield "the instance starts"
        case ev.InstanceEnded(error=error):
            yield "the instance ends" + _because(error)
        case ev.StageStarted(number=number, name=name, input=input):
            yield f"stage {number} {STAGE_OF.get(name, name)} starts{_stage_detail(input)}"
        case ev.StageEnded(number=number, error=error):
            yield f"stage {number} ends" + _because(error)
        case ev.ActivityStarted(name=name, input=input):
            yield f"  {name} {_call_detail(name, input)}"
        case ev.ActivityFailed(attempt=attempt, error=error, retry_at=retry_at, at=at):
            yield f"  attempt {attempt} fails: {error}; the next one comes after {shown(retry_at - at)}"
        case ev.ActivityPaused(attempt=attempt, error=error):
            yield f"  attempt {attempt} fails: {error}; it was the last one, so the activity is paused"
        case ev.ActivityEnded(attempt=attempt, error=None):
            yield f"  done{_at_attempt(attempt)}"
        case ev.ActivityEnded(attempt=attempt, error=error):
            yield f"  fails for good{_at_attempt(attempt)}: {error}"
        case ev.LateResultRecorded(error=error):
            yield "  the answer of a call that was under way comes late and changes nothing" + _because(error)
        case ev.CommandRejected(message=message):
            yield f"this is refused: {message}"


def _because(error: str | None) -> str:
    return "" if error is None else f" with the error: {error}"


def _at_attempt(attempt: int) -> str:
    return "" if attempt == 1 else f" at attempt {attempt}"


def _stage_detail(given: dict[str, Any]) -> str:
    match given:
        case {"event": event}:
            return f": it waits for {event}"
        case {"duration": duration}:
            return f": it takes {duration}"
        case {"until": until}:
            return f": it takes until {until}"
    return ""


def _call_detail(name: str, given: dict[str, Any]) -> str:
    """What matters of a call: who gets how much."""
    if name == CREATE_TRANSACTION:
        data = given["data"]
        moves = [f"{p['amount']} {p['asset']} {p['source']} → {p['destination']}" for p in data.get("postings", ())]
        return f"{given['ledger']}: {', '.join(moves) or ' '.join(data['script']['plain'].split())}"
    if name in (CREDIT_WALLET, DEBIT_WALLET):
        data = given["data"]
        balances = data.get("balances") or [data.get("balance", "main")]
        return f"{given['id']} ({', '.join(balances)}): {data['amount']['amount']} {data['amount']['asset']}"
    if name == CREATE_TRANSFER_INITIATION:
        return f"{given['type']} of {given['amount']} {given['asset']} to {given['destination']}"
    if name in (GET_ACCOUNT, ADD_ACCOUNT_METADATA):
        return f"{given['ledger']}: {given['id']}"
    return str(given.get("id") or given.get("name") or "")
