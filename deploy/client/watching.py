"""Waiting for an instance in front of a user."""

import click

from deploy.client.session import Session
from deploy.client.timeline import exit_status, follow


async def watch(session: Session, instance_id: str, *, is_known: bool = False) -> None:
    """Show an instance until it has ended, and end with its outcome as exit status.

    Args:
        session: of the command.
        instance_id: which one.
        is_known: whether the API has answered before.
    """
    ended = await follow(session.api, session.output, instance_id, is_known=is_known)
    if session.output.as_json:
        session.output.show(ended, list)
    status = exit_status(ended)
    if status:
        raise click.exceptions.Exit(status)
