"""Groups of commands that also answer to short names."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import click

C = TypeVar("C", bound=click.Command)


class Aliased(click.Group):
    """A group whose commands may have aliases: `@group.verb("list", aliases=("ls", "l"))`."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._names: dict[str, str] = {}
        self._modules: dict[str, str] = {}
        """Of commands that are not loaded yet."""

    def add_command(self, cmd: click.Command, name: str | None = None, aliases: tuple[str, ...] = ()) -> None:
        """Add a command, and the other names that it has."""
        super().add_command(cmd, name)
        vars(cmd)["aliases"] = list(aliases)  # which rich-click shows
        self._names |= dict.fromkeys(aliases, name or cmd.name or "")

    def add_later(self, name: str, module: str, aliases: tuple[str, ...] = ()) -> None:
        """Add a command that is loaded when somebody asks for it; else each process would load all of them.

        Args:
            name: of the command, and of what holds it in its module.
            module: where it is.
            aliases: its other names.
        """
        self._modules[name] = module
        self._names |= dict.fromkeys(aliases, name)

    def _load(self, name: str) -> None:
        module = self._modules.pop(name, None)
        if module is not None:
            aliases = tuple(alias for alias, whole in self._names.items() if whole == name)
            self.add_command(getattr(import_module(module), name), name, aliases)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in order."""
        return sorted({*super().list_commands(ctx), *self._modules})

    def verb(
        self, name: str, *, aliases: tuple[str, ...] = (), **options: Any
    ) -> Callable[[Callable[..., Any]], click.Command]:
        """Make a function a command of this group."""
        return self._adding(click.command(name, **options), aliases)

    def subgroup(self, name: str, *, aliases: tuple[str, ...] = (), **options: Any) -> Callable[..., "Aliased"]:
        """Make a function a group inside this one."""
        return self._adding(click.group(name, cls=Aliased, **options), aliases)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name or alias."""
        name = self._names.get(cmd_name, cmd_name)
        self._load(name)
        return super().get_command(ctx, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that arguments begin with, under its own name."""
        name, command, rest = super().resolve_command(ctx, args)
        return (command.name if command is not None else name), command, rest

    def _adding(
        self, make: Callable[[Callable[..., Any]], C], aliases: tuple[str, ...]
    ) -> Callable[[Callable[..., Any]], C]:
        def add(function: Callable[..., Any]) -> C:
            command = make(function)
            self.add_command(command, aliases=aliases)
            return command

        return add
