"""`orchestration workflows …`."""

from collections.abc import Iterable
from typing import Any, Final

import click

from deploy.client.completion import complete_workflows
from deploy.client.groups import Aliased
from deploy.client.session import Session, acting, connected

FILES: Final = click.Path(exists=True, dir_okay=False, allow_dash=True)
LIST_LIMIT: Final = 100
"""Most rows of a list unless told otherwise: the newest ones."""
WRONG_STATUS: Final = 1
"""Exit status of a check that has found errors."""


@click.group("workflows", cls=Aliased)
def workflows() -> None:
    """Create, run and check workflows.

    The API is the one of --url or ORCHESTRATION_CLIENT_URL, else that of the profile, else that of `orchestration dev`
    on this machine. A workflow's name is taken in place of its id if no other has it.
    """


@workflows.verb("create", aliases=("cr", "c"), short_help="Create a workflow.")
@acting
@click.argument("file", type=FILES, metavar="FILE|-")
async def create(session: Session, file: str) -> None:
    """Create a workflow from a file, or from standard input. It is YAML unless its name ends with .json."""
    from deploy.client.definition_files import is_json, read, tell
    from deploy.client.errors import Refused

    text = read(file)
    content_type = "application/json" if is_json(file) else "application/yaml"
    try:
        made = await session.api.post("workflows", text=text, content_type=content_type)
    except Refused as refused:
        if refused.status == 400:
            tell(file, text)
        raise
    tell(file, text)
    session.output.show(made, lambda: [f"created workflow {made['id']}"])


@workflows.verb("list", aliases=("ls", "l"), short_help="List workflows, newest first.")
@connected
@click.option("--limit", "-n", type=click.IntRange(0), default=LIST_LIMIT, show_default=True, help="0 for all.")
async def list_workflows(session: Session, limit: int) -> None:
    """List workflows that are not deleted, newest first."""
    from deploy.client.output import moment, table

    found = [item async for item in session.api.pages("workflows", limit=limit)]
    heads = ("id", "name", "stages", "created")
    rows = ((w["id"], w["config"]["name"], _stages(w), moment(w["createdAt"])) for w in found)
    session.output.show(found, lambda: table(heads, rows, "no workflows"))
    session.output.note_limit(len(found), limit)


@workflows.verb("show", aliases=("s",), short_help="Show a workflow.")
@connected
@click.argument("workflow", shell_complete=complete_workflows)
async def show(session: Session, workflow: str) -> None:
    """Show a workflow with its definition, and who has made it."""
    from deploy.client.acts import acts_table
    from deploy.client.definition_files import as_yaml
    from deploy.client.names import workflow_id
    from deploy.client.output import moment, pairs

    found = await session.api.get("workflows", await workflow_id(session.api, workflow))

    def lines() -> Iterable[str]:
        yield from pairs([
            ("id", found["id"]),
            ("name", found["config"]["name"]),
            ("created", moment(found["createdAt"])),
            ("updated", moment(found["updatedAt"])),
            ("deleted", moment(found.get("deletedAt"))),
        ])  # fmt: skip
        yield ""
        yield as_yaml(found["config"]).rstrip()
        yield from acts_table(found)

    session.output.show(found, lines)


@workflows.verb("delete", aliases=("del", "d"), short_help="Delete a workflow; its instances go on.")
@acting
@click.argument("workflow", shell_complete=complete_workflows)
async def delete(session: Session, workflow: str) -> None:
    """Delete a workflow. Instances that are running go on."""
    from deploy.client.names import workflow_id
    from deploy.client.warnings import warn_of_triggers

    found = await workflow_id(session.api, workflow)
    await session.api.delete("workflows", found)
    session.output.show({"id": found}, lambda: [f"deleted workflow {found}"])
    await warn_of_triggers(session, found)


@workflows.verb("run", aliases=("r",), short_help="Run a workflow.")
@acting
@click.argument("workflow", shell_complete=complete_workflows)
@click.option("--variable", "-v", "given", multiple=True, metavar="KEY=VALUE", help="A variable; may be repeated.")
@click.option("--wait", "-w", is_flag=True, help="Show what the instance does until it has ended.")
@click.option("--idempotency-key", metavar="KEY", help="Running again with the same key starts nothing new.")
async def run(session: Session, workflow: str, given: tuple[str, ...], wait: bool, idempotency_key: str | None) -> None:
    """Run a workflow.

    With --wait the exit status is the outcome: 0 if the instance has succeeded, 1 if it has failed, 5 if it was
    aborted.
    """
    from deploy.client.names import workflow_id
    from deploy.client.parsing import variables
    from deploy.client.repeats import repeatable
    from deploy.client.warnings import warn_of_variables
    from deploy.client.watching import watch

    body = variables(given)
    found = await workflow_id(session.api, workflow)
    await warn_of_variables(session, found, body)
    with repeatable(idempotency_key, "it may run all the same; to try again without running it twice") as key:
        made = await session.api.post("workflows", found, "instances", body=body, key=key)
    if not wait:
        session.output.show(made, lambda: [f"started instance {made['id']}"])
        return
    session.output.say(f"started instance {made['id']}")
    await watch(session, made["id"], is_known=True)


@workflows.verb("validate", short_help="Check definitions without a server.")
@click.argument("files", nargs=-1, required=True, type=FILES, metavar="FILE…|-")
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON: a list with an entry for each file.")
def validate(files: tuple[str, ...], strict: bool, as_json: bool) -> None:
    """Check the definitions in files, or on standard input, and say everything that is wrong.

    No server is needed: the checks are those of `workflows create`. A file is YAML unless its name ends with .json.
    A variable with a question mark is optional.

    Exit status: 0 if all are valid, 1 if there are errors, 2 if a file can't be read.
    """
    from deploy.client import definition_files

    checked = []
    for one in definition_files.check(files):
        checked.append(one)
        if not as_json:
            for line in definition_files.lines(one):
                click.echo(line)
    if as_json:
        click.echo(definition_files.as_json(checked))
    if any(not one.validation.valid or (strict and one.validation.findings) for one in checked):
        raise click.exceptions.Exit(WRONG_STATUS)


@workflows.verb("schema", short_help="Print the JSON Schema of definitions.")
def schema() -> None:
    """Print the JSON Schema (2020-12) of definitions.

    Editors use it: write it to a file, and begin the definition with
    `# yaml-language-server: $schema=workflow.schema.json`. A server has it at /v2/workflows/schema.json.
    """
    import json

    from schemas.definition import definition_schema

    click.echo(json.dumps(definition_schema(), indent=2, ensure_ascii=False))


def _stages(workflow: dict[str, Any]) -> str:
    """The names of the stages."""
    return " ".join(next(iter(stage)) for stage in workflow["config"]["stages"])
