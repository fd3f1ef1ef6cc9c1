"""`orchestration instances …`."""

from collections.abc import Iterable
from typing import Any

import click

from deploy.client.groups import Aliased
from deploy.client.instance_filters import filtered, query_of
from deploy.client.session import Session, acting, connected
from deploy.client.workflows import LIST_LIMIT


@click.group("instances", cls=Aliased)
def instances() -> None:
    """Look at instances, send them events, stop them."""


@instances.verb("list", aliases=("ls", "l"), short_help="List instances, newest first.")
@connected
@filtered
@click.option("--limit", "-n", type=click.IntRange(0), default=LIST_LIMIT, show_default=True, help="0 for all.")
async def list_instances(session: Session, /, limit: int, **options: Any) -> None:
    """List instances, newest first; those that pass all filters."""
    await _list(session, limit, await query_of(session.api, **options))


@instances.verb("find", aliases=("f",), short_help="Find instances by an id or another key.")
@connected
@click.argument("key")
@click.option("--limit", "-n", type=click.IntRange(0), default=LIST_LIMIT, show_default=True, help="0 for all.")
async def find(session: Session, key: str, limit: int) -> None:
    """Find instances by a key, in any letter case.

    A key is the value of a variable, the name of an event that the instance waited for or was sent, the id of a
    payment, wallet, transaction, account or transfer that its activities used or made, or the id of the instance.
    """
    from deploy.client.parsing import not_empty

    await _list(session, limit, {"key": not_empty("the key", key)})


async def _list(session: Session, limit: int, filters: dict[str, Any]) -> None:
    from deploy.client.output import moment, styled_state, table, took, waits_for

    found = [item async for item in session.api.pages("instances", limit=limit, **filters)]
    heads = ("id", "workflow", "state", "started", "took", "waits for", "error")
    rows = (
        (
            i["id"],
            i["workflow"]["config"]["name"] or i["workflowID"],
            styled_state(i),
            moment(i["createdAt"]),
            took(i["createdAt"], i.get("terminatedAt")),
            waits_for(i),
            i.get("error", ""),
        )
        for i in found
    )
    session.output.show(found, lambda: table(heads, rows, "no instances"))
    session.output.note_limit(len(found), limit)


@instances.verb("show", aliases=("s",), short_help="Show an instance.")
@connected
@click.argument("instance")
async def show(session: Session, instance: str) -> None:
    """Show an instance, the stages that it has started, and who did what to it."""
    from deploy.client.acts import acts_table
    from deploy.client.names import instance_id
    from deploy.client.output import moment, pairs, styled_state, table, took, waits_for

    found = await session.api.get("instances", instance_id(instance))
    config = found["workflow"]["config"]

    def lines() -> Iterable[str]:
        yield from pairs([
            ("id", found["id"]),
            ("workflow", f"{config['name']} {found['workflowID']}".strip()),
            ("state", styled_state(found)),
            ("waits for", waits_for(found)),
            ("created", moment(found["createdAt"])),
            ("terminated", moment(found.get("terminatedAt"))),
            ("error", found.get("error", "")),
        ])  # fmt: skip
        yield ""
        heads = ("stage", "name", "started", "terminated", "took", "error")
        rows = (
            (
                str(stage["stage"]),
                next(iter(config["stages"][stage["stage"]])),
                moment(stage["startedAt"]),
                moment(stage.get("terminatedAt")),
                took(stage["startedAt"], stage.get("terminatedAt")),
                stage.get("error", ""),
            )
            for stage in found["status"]
        )
        yield from table(heads, rows, "no stage has started")
        yield from acts_table(found)

    session.output.show(found, lines)


@instances.verb("describe", aliases=("desc",), short_help="Show what an instance has done and still has to do.")
@connected
@click.argument("instance")
async def describe(session: Session, instance: str) -> None:
    """Show what an instance has done: each stage and activity, attempts, errors, and what is still to come.

    As JSON: the stages' histories, each with its activities.
    """
    from datetime import UTC, datetime

    from deploy.client.names import instance_id
    from deploy.client.timeline import headline, look, steps

    view = await look(session.api, instance_id(instance))
    told = [{**stage, "activities": calls} for stage, calls in zip(view.history, view.activities, strict=True)]
    now = datetime.now(UTC)
    session.output.show(told, lambda: [headline(view.instance), *(step.line() for step in steps(view, now))])


@instances.verb("watch", aliases=("w",), short_help="Show what an instance does until it has ended.")
@connected
@click.argument("instance")
async def watch(session: Session, instance: str) -> None:
    """Show what an instance does until it has ended.

    Exit status: 0 if it has succeeded, 1 if it has failed, 5 if it was aborted.
    """
    from deploy.client.names import instance_id
    from deploy.client.watching import watch as show_until_ended

    await show_until_ended(session, instance_id(instance))


@instances.verb("log", short_help="Show all that has happened to an instance, in order.")
@connected
@click.argument("instance")
async def log(session: Session, instance: str) -> None:
    """Show all that has happened to an instance, in order: stages, activities, and who did what, for which reason.

    `orchestration log ID` shows the records themselves, to whom can reach Kafka.
    """
    from deploy.client.acts import happenings
    from deploy.client.names import instance_id
    from deploy.client.timeline import look

    told = happenings(await look(session.api, instance_id(instance)))
    session.output.show([one.json() for one in told], lambda: [one.line() for one in told])


@instances.verb("resume", short_help="Resume the paused activity of an instance.")
@acting
@click.argument("instance")
async def resume(session: Session, instance: str) -> None:
    """Resume the paused activity of an instance: it gets a new budget of attempts."""
    from deploy.client.acts import pending_activity
    from deploy.client.errors import Refused
    from deploy.client.names import instance_id

    found = instance_id(instance)
    paused = pending_activity(await session.api.get("instances", found))
    if paused is None:
        raise Refused(f"instance {found} has no paused activity: see `orchestration instances describe {found}`")
    stage, activity = paused
    path = ("instances", found, "stages", str(stage), "activities", activity["activityID"], "resume")
    meant = {name: activity[name] for name in ("temporalRunID", "pausedAt")}
    await session.api.post(*path, body=meant)
    told = {"id": found, "stage": stage, "activity": activity["name"]}
    session.output.show(told, lambda: [f"resumed {activity['name']} of instance {found}"])


@instances.verb("send-event", short_help="Send an event to an instance.")
@acting
@click.argument("instance")
@click.argument("event")
@click.option("--idempotency-key", metavar="KEY", help="Sending again with the same key sends nothing new.")
async def send_event(session: Session, instance: str, event: str, idempotency_key: str | None) -> None:
    """Send an event to an instance. One event ends one stage: sent twice, it may end two that wait for its name."""
    from deploy.client.names import instance_id
    from deploy.client.parsing import not_empty
    from deploy.client.repeats import repeatable

    found, body = instance_id(instance), {"name": not_empty("the event", event)}
    with repeatable(idempotency_key, "it may have come all the same; to try again without sending it twice") as key:
        await session.api.post("instances", found, "events", body=body, key=key)
    session.output.show({"id": found, "event": event}, lambda: [f"sent {event} to instance {found}"])


@instances.verb("retry", short_help="Run an instance that has failed or was aborted once more.")
@acting
@click.argument("instance")
@click.option("--wait", is_flag=True, help="Show what it does until it has ended.")
async def retry(session: Session, instance: str, wait: bool) -> None:
    """Run an instance that has failed or was aborted once more, from the stage that did not succeed.

    What was done in that stage is not done again. With --wait, the exit status is as that of watch.
    """
    from deploy.client.names import instance_id
    from deploy.client.watching import watch as show_until_ended

    found = instance_id(instance)
    shown = await session.api.post("instances", found, "retry")
    if wait:
        await show_until_ended(session, found, is_known=True)
        return
    session.output.show(shown, lambda: [f"instance {found} runs again (retry {shown['retries']})"])


@instances.verb("stop", aliases=("abort",), short_help="Abort an instance.")
@acting
@click.argument("instance")
async def stop(session: Session, instance: str) -> None:
    """Abort an instance. One that has ended stays as it is, and is told as such."""
    from deploy.client.names import instance_id
    from deploy.client.output import state

    found = instance_id(instance)
    await session.api.put("instances", found, "abort")
    how = state(await session.api.get("instances", found))
    ended = how in ("succeeded", "failed")
    said = f"instance {found} has {how} before" if ended else f"stopped instance {found}"
    session.output.show({"id": found, "state": how}, lambda: [said])


instances.add_later("bulk", "deploy.client.bulk", aliases=("b",))
