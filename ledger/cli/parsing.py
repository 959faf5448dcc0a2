"""How commands are read: negative amounts, and words for what was typed in the wrong place."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AmountCommand", "DefaultGroup", "Group"]

_OF_COMMANDS = {
    "--db": "--db credits.db",
    "--book": "--book main",
    "--format": "--format json",
    "-f": "-f json",
}
"""Options that every command has and no group, and how one writes them."""

_NEGATIVE = re.compile(r"-[0-9.].*")
_CHOICE = re.compile(r"'(?P<given>.*)' is not one of (?P<known>'.*')\.?", re.DOTALL)


class Group(TyperGroup):
    """A group that says where an option belongs, and which choice was meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what stands before the name of a command."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            option = getattr(error, "option_name", None)
            if option in _OF_COMMANDS and _knows(self, option):
                example = f"{ctx.command_path} COMMAND {_OF_COMMANDS[option]}"
                error.message = (  # type: ignore[attr-defined]
                    f"{option} goes after the command: {example}"
                )
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a wrong choice is told in plain words."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _in_words(error.message)
            raise


class DefaultGroup(Group):
    """A group whose first command may be left out, as in `reconcile FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first command before arguments that name none."""
        first = next(iter(self.commands))
        named = args[:1] and (args[0] in self.commands or args[0] in self._helps(ctx))
        return super().parse_args(ctx, args if named or not args else [first, *args])

    def _helps(self, ctx: Any) -> list[str]:
        return [*self.get_help_option_names(ctx)]


def _knows(command: Any, option: str) -> bool:
    """Whether a command, or one of a group's, has an option."""
    return any(option in param.opts for param in command.params) or any(
        _knows(each, option) for each in getattr(command, "commands", {}).values()
    )


def _in_words(problem: str) -> str:
    """What is wrong with a value, without the name of the class that says so.

    >>> _in_words("Value error, 'cvs' is not one of 'table', 'csv'.")
    "'cvs' is not one of 'table', 'csv'; did you mean 'csv'?"
    """
    plain = problem.removeprefix("Value error, ")
    if (found := _CHOICE.fullmatch(plain)) is None:
        return plain
    known = re.findall(r"'([^']*)'", found["known"])
    near = get_close_matches(found["given"].casefold(), known, n=1)
    return f"{plain.removesuffix('.')}; did you mean {near[0]!r}?" if near else plain


class AmountCommand(TyperCommand):
    """A command that takes `-5` for an amount, not for an option that nobody knows."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; a negative number that is no option's value comes last."""
        if "--" in args:
            return super().parse_args(ctx, args)
        taking = {
            name
            for param in self.params
            if isinstance(param, typer.core.TyperOption) and not param.is_flag
            for name in param.opts
        }
        places = list(_amounts(args, taking))
        others = [word for place, word in enumerate(args) if place not in places]
        behind = ["--", *(args[place] for place in places)] if places else []
        return super().parse_args(ctx, [*others, *behind])


def _amounts(args: list[str], taking: set[str]) -> Iterator[int]:
    """Where negative numbers stand that no option takes.

    >>> list(_amounts(["studio", "-5", "--cash", "-6"], {"--cash"}))
    [1]
    """
    for place, word in enumerate(args):
        before = args[place - 1] if place else ""
        if _NEGATIVE.fullmatch(word) and before not in taking:
            yield place
