"""`orchestration workflows …`."""

import click

from deploy.client.groups import Aliased

FILES = click.Path(exists=True, dir_okay=False, allow_dash=True)
WRONG_STATUS = 1
"""Exit status of a check that has found errors."""


@click.group("workflows", cls=Aliased)
def workflows() -> None:
    """Create, run and check workflows."""


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
