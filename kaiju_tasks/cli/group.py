"""Groups of commands: what they do without a command, and how they explain a wrong one."""

import shlex
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any

import click

__all__ = ["Group", "explained"]

LIST = "list"
ADDRESS = (
    "Commands read the address of the manager from the environment variable KAIJU_URL, for example "
    "`KAIJU_URL=http://127.0.0.1:8077 kaiju-tasks task list`."
)
TOKEN = "Commands read the token from the environment variable KAIJU_TOKEN."
VARIABLES = dict.fromkeys(("--url", "--manager", "--server", "--host", "--port"), ADDRESS)
VARIABLES["--token"] = TOKEN
"""What users look for as options, and what stands in their place."""
LOCAL = frozenset({"bench", "db", "openrpc", "run", "serve"})
"""Commands that call no manager."""


class Group(click.Group):
    """A group of commands. One that has a command `list` runs it if no command is given.

    :param hint: returns a hint for a word that is not a command, or an empty text
    """

    def __init__(self, *args: Any, hint: Callable[[str], str] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self._hint = hint

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            self._check_order(ctx, args)
            if LIST in self.list_commands(ctx) and not self._asks_for_help(ctx, args):
                args = [LIST, *args] if not args or args[0].startswith("-") else args
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        hint = self._hint(name) if self._hint is not None else ""
        text = f"No such command {name!r}. {hint or self._meant(ctx, name)}"
        raise click.UsageError(text.rstrip(), ctx)

    def _check_order(self, ctx: click.Context, args: list[str]) -> None:
        """:raises click.UsageError: an option of a command is given before the command"""
        own = {name for option in self.get_params(ctx) for name in option.opts}
        if not args or not args[0].startswith("-"):
            return
        if args[0].partition("=")[0] in own | VARIABLES.keys():
            return
        first = next((i for i, word in enumerate(args) if self.get_command(ctx, word)), None)
        if first is not None:
            right = shlex.join([*args[first:], *args[:first]])
            raise click.UsageError(
                f"Put options after the command: {ctx.command_path} {right}", ctx
            )

    def _asks_for_help(self, ctx: click.Context, args: list[str]) -> bool:
        return bool(args) and args[0] in ctx.help_option_names

    def _meant(self, ctx: click.Context, name: str) -> str:
        known = self.list_commands(ctx)
        singular = name.removesuffix("s")
        near = [singular] if singular in known else get_close_matches(name, known)
        near = near or list(self._inner(ctx, known, name))
        if not near:
            return ""
        if len(near) == 1:
            return f"Did you mean {near[0]!r}?"
        return f"Did you mean one of {', '.join(map(repr, near))}?"

    def _inner(self, ctx: click.Context, known: Iterable[str], name: str) -> Iterator[str]:
        """Yield the commands of this name in the groups of this group."""
        for group_name in known:
            group = self.get_command(ctx, group_name)
            if isinstance(group, click.Group) and name in group.list_commands(ctx):
                yield f"{group_name} {name}"


def explained(error: click.NoSuchOption) -> click.UsageError:
    """Return the error with the variable that is used in place of the option, if there is one."""
    place = VARIABLES.get(error.option_name)
    if place is None or (error.ctx is not None and _words(error.ctx) & LOCAL):
        return error
    return click.UsageError(f"{error.message} {place}", error.ctx)


def _words(ctx: click.Context) -> set[str]:
    return set(ctx.command_path.split())
