"""`orchestration triggers …`."""

from collections.abc import Iterable
from typing import Any

import click

from deploy.client.completion import complete_triggers, complete_workflows
from deploy.client.groups import Aliased
from deploy.client.session import Session, acting, connected
from deploy.client.workflows import LIST_LIMIT


@click.group("triggers", cls=Aliased)
def triggers() -> None:
    """Start workflows when messages of other services come."""


@triggers.verb("create", aliases=("cr", "c"), short_help="Create a trigger.")
@acting
@click.argument("event")
@click.argument("workflow", shell_complete=complete_workflows)
@click.option("--name", help="A name for the trigger.")
@click.option("--filter", "condition", metavar="EXPRESSION", help="Only messages that make this true fire it.")
@click.option("--vars", "given", multiple=True, metavar="KEY=EXPRESSION", help="A variable; may be repeated.")
@click.option("--version", help="Only messages of this version fire it.")
@click.option("--idempotency-key", metavar="KEY", help="Creating again with the same key creates nothing new.")
async def create(
    session: Session,
    event: str,
    workflow: str,
    name: str | None,
    condition: str | None,
    given: tuple[str, ...],
    version: str | None,
    idempotency_key: str | None,
) -> None:
    """Create a trigger: messages of type EVENT run WORKFLOW. Created twice, it runs it twice for each of them."""
    from deploy.client.names import workflow_id
    from deploy.client.parsing import not_empty, variables
    from deploy.client.repeats import repeatable
    from deploy.client.warnings import warn_of_names, warn_of_variables

    body: dict[str, Any] = {"event": not_empty("the event", event)}
    values = variables(given)
    # Without the filter or version that was meant, it would fire for messages that were not.
    texts = {"name": name, "filter": condition, "version": version}
    body |= {key: not_empty(f"--{key}", text) for key, text in texts.items() if text is not None}
    if values:
        body["vars"] = values
    body["workflowID"] = await workflow_id(session.api, workflow)
    with repeatable(idempotency_key, "it may be there all the same; to try again without creating it twice") as key:
        made = await session.api.post("triggers", body=body, key=key)
    session.output.show(made, lambda: [f"created trigger {made['id']}"])
    warn_of_names(session, {"filter": condition or "nil"} | {f"vars.{name}": text for name, text in values.items()})
    await warn_of_variables(session, body["workflowID"], values)


@triggers.verb("list", aliases=("ls", "l"), short_help="List triggers, newest first.")
@connected
@click.option("--name", help="Only those whose name contains this, ignoring case.")
@click.option("--limit", "-n", type=click.IntRange(0), default=LIST_LIMIT, show_default=True, help="0 for all.")
async def list_triggers(session: Session, name: str | None, limit: int) -> None:
    """List triggers, newest first."""
    from deploy.client.output import moment, table

    found = [item async for item in session.api.pages("triggers", limit=limit, name=name)]
    heads = ("id", "name", "event", "workflow", "filter", "created")
    rows = (
        (t["id"], t["name"], t["event"], t["workflowID"], t.get("filter", ""), moment(t["createdAt"])) for t in found
    )
    session.output.show(found, lambda: table(heads, rows, "no triggers"))
    session.output.note_limit(len(found), limit)


@triggers.verb("show", aliases=("s",), short_help="Show a trigger.")
@connected
@click.argument("trigger", shell_complete=complete_triggers)
async def show(session: Session, trigger: str) -> None:
    """Show a trigger, and who has made it."""
    from deploy.client.acts import acts_table
    from deploy.client.names import trigger_id
    from deploy.client.output import moment, pairs

    found = await session.api.get("triggers", await trigger_id(session.api, trigger))
    rows = [
        ("id", found["id"]),
        ("name", found["name"]),
        ("event", found["event"]),
        ("version", found.get("version", "")),
        ("workflow", found["workflowID"]),
        ("filter", found.get("filter", "")),
        *((f"variable {name}", expression) for name, expression in found.get("vars", {}).items()),
        ("created", moment(found["createdAt"])),
    ]
    session.output.show(found, lambda: [*pairs(rows), *acts_table(found)])


@triggers.verb("delete", aliases=("del", "d"), short_help="Delete a trigger.")
@acting
@click.argument("trigger", shell_complete=complete_triggers)
async def delete(session: Session, trigger: str) -> None:
    """Delete a trigger. Its occurrences stay."""
    from deploy.client.names import trigger_id

    found = await trigger_id(session.api, trigger)
    await session.api.delete("triggers", found)
    session.output.show({"id": found}, lambda: [f"deleted trigger {found}"])


@triggers.verb("test", short_help="Show what a trigger would do with a message.")
@connected
@click.argument("trigger", shell_complete=complete_triggers)
@click.argument("payload", metavar="JSON")
async def test(session: Session, trigger: str, payload: str) -> None:
    """Show what a trigger would do with a message of this payload. Nothing is started."""
    from deploy.client.names import trigger_id
    from deploy.client.output import Styled, pairs, table
    from deploy.client.warnings import warn_of_deletion

    found = await trigger_id(session.api, trigger)
    tested = await session.api.post("triggers", found, "test", text=payload.encode())
    await warn_of_deletion(session, found)
    condition = tested.get("filter", {"match": True})

    def lines() -> Iterable[str]:
        fires = Styled("yes", "green") if condition["match"] else Styled("no", "red")
        yield from pairs([("fires", fires), ("filter error", condition.get("error", ""))])
        if "variables" in tested:
            yield ""
            rows = (
                (name, result.get("value", ""), result.get("error", "")) for name, result in tested["variables"].items()
            )
            yield from table(("variable", "value", "error"), rows, "no variables")

    session.output.show(tested, lines)


@triggers.subgroup("occurrences", aliases=("oc", "o"), short_help="Look at what triggers did.")
def occurrences() -> None:
    """Look at what triggers did."""


@occurrences.verb("list", aliases=("ls", "l"), short_help="List what a trigger did, newest first.")
@connected
@click.argument("trigger", shell_complete=complete_triggers)
@click.option("--limit", "-n", type=click.IntRange(0), default=LIST_LIMIT, show_default=True, help="0 for all.")
async def list_occurrences(session: Session, trigger: str, limit: int) -> None:
    """List what a trigger did, newest first: the instances that it started, and why it could not."""
    from deploy.client.names import trigger_id
    from deploy.client.output import moment, table

    found_id = await trigger_id(session.api, trigger)
    found = [item async for item in session.api.pages("triggers", found_id, "occurrences", limit=limit)]
    heads = ("id", "date", "instance", "error")
    rows = ((o["id"], moment(o["date"]), o.get("workflowInstanceID", ""), o.get("error", "")) for o in found)
    session.output.show(found, lambda: table(heads, rows, "no occurrences"))
    session.output.note_limit(len(found), limit)
