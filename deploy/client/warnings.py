"""Warnings of what the API accepts, and what is surely not meant. They go to standard error, and stop nothing.

Where the API does not tell what a warning needs, there is none: what was wanted is done, or says itself why it is not.
"""

import contextlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final

from deploy.client.errors import Refused, Unavailable
from deploy.client.names import SHOWN_IDS
from deploy.client.session import Session
from schemas.definition import check_definition
from schemas.definition.suggestions import did_you_mean
from schemas.definition.text import quoted
from schemas.expressions import ExpressionSyntaxError
from schemas.expressions.names import unknown_names

NOT_TOLD: Final = (Refused, Unavailable)


async def warn_of_variables(session: Session, workflow_id: str, given: Collection[str]) -> None:
    """Warn of variables that a workflow needs and does not get, and of those that it does not have."""
    with contextlib.suppress(*NOT_TOLD):
        workflow = await session.api.get("workflows", workflow_id)
        uses = check_definition(workflow["config"], datetime.now(UTC)).uses
        known = list(dict.fromkeys(use.variable for use in uses))
        for name in given:
            if name not in known:
                meant = did_you_mean(name, known)
                told = f"warning: the workflow has no variable {quoted(name)}"
                session.output.note(f"{told}; {meant}" if meant else told)
        for name in dict.fromkeys(use.variable for use in uses if use.required):
            if name not in given:
                session.output.note(f"warning: the workflow needs the variable {quoted(name)}, which is not given")


async def warn_of_triggers(session: Session, workflow_id: str) -> None:
    """Warn of triggers that name a workflow that is deleted."""
    with contextlib.suppress(*NOT_TOLD):
        named = [item["id"] async for item in session.api.pages("triggers") if item["workflowID"] == workflow_id]
        for trigger in named[:SHOWN_IDS]:
            session.output.note(
                f"warning: trigger {trigger} is for it, and leaves an error for each message: delete it, too"
            )
        if len(named) > SHOWN_IDS:
            session.output.note(f"warning: so do {len(named) - SHOWN_IDS} other triggers")


async def warn_of_deletion(session: Session, trigger_id: str) -> None:
    """Warn of a trigger whose workflow is deleted."""
    with contextlib.suppress(*NOT_TOLD):
        trigger = await session.api.get("triggers", trigger_id)
        workflow = await session.api.get("workflows", trigger["workflowID"])
        if workflow.get("deletedAt"):
            session.output.note(f"warning: workflow {workflow['id']} is deleted, so a message would leave an error")


def warn_of_names(session: Session, expressions: Mapping[str, str]) -> None:
    """Warn of names in expressions that stand for nothing.

    Args:
        session: has the output.
        expressions: each by the place that the warning names, such as `filter`.
    """
    for place, text in expressions.items():
        try:
            unknown = unknown_names(text)
        except ExpressionSyntaxError:  # an API of another version has taken it
            continue
        for name in unknown:
            session.output.note(
                f"warning: {place}: {quoted(name)} is always nil, since the message's payload is `event`; "
                f"did you mean `event.{name}`?"
            )
