"""``vlarl COMMAND ...``: finds the command, reads its flags, prints errors that help.

Commands are the modules of ``vlarl/commands`` (see there); adding one is adding a file. Nothing heavy is
imported before the command itself runs: ``vlarl --help`` loads neither torch nor a simulator.

Exit status: 0 done, 1 the command ran and reports a failure, 2 wrong usage or an error the user can fix,
130 stopped with Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from vlarl import __version__
from vlarl.errors import NameNotFoundError, UserError, unknown_name
from vlarl.resolve import list_modules, list_names

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name); returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone (vlarl list | head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if not is_users_to_fix(error) or os.environ.get("VLARL_TRACEBACK"):
            raise
        print(f"vlarl: {error}", file=sys.stderr)
        return EXIT_USAGE


def is_users_to_fix(error: BaseException) -> bool:
    """Whether an error's message says all there is to say, so that a traceback would only hide it."""
    if isinstance(error, UserError):
        return True
    protocol = sys.modules.get("vlarl.env_protocol")  # not imported here: it needs numpy
    return protocol is not None and isinstance(error, protocol.ActionError | protocol.UnknownTaskError)


def parse(options_class: type[Any], arguments: Sequence[str], *, command: str, description: str | None) -> Any:
    """Read flags into a dataclass; a wrong flag prints the nearest one and exits with 2."""
    import tyro

    from vlarl.flags import split_lists

    return tyro.cli(
        options_class,
        prog=f"vlarl {command}",
        args=split_lists(arguments),
        description=plain_description(description or ""),
    )


def plain_description(docstring: str) -> str:
    """A module docstring as ``--help`` shows it: without markup, and an example right under its heading."""
    text = docstring.strip().replace("::\n", ":\n").replace("``", "")
    return re.sub(r"\n\s*\n(?= )", "\n", text)  # tyro adds a line break before every indented line


def command_names() -> list[str]:
    """Every command, as typed."""
    return [item.name.replace("_", "-") for item in list_modules("vlarl.commands")]


def load_command(name: str) -> ModuleType:
    """Import the module of a command.

    Raises:
        NameNotFoundError: no such command; the nearest one is named.
    """
    names = command_names()
    if name not in names:
        raise NameNotFoundError(unknown_name("command", name, names, "See 'vlarl --help'."))
    return importlib.import_module(f"vlarl.commands.{name.replace('-', '_')}")


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print_overview()
        return 0
    if words[0] == "--version":
        print(f"vlarl {__version__}")
        return 0
    name, *rest = words
    if name.startswith("-"):
        raise UserError(f"unknown flag {name!r}: the command comes first. See 'vlarl --help'.")
    module = load_command(name)
    if hasattr(module, "main"):
        return int(module.main(rest) or 0)
    options = parse(module.Options, rest, command=name, description=module.__doc__)
    return int(module.run(options) or 0)


def print_overview() -> None:
    """Commands, experiments, and where to go from here."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text.assemble(("vlarl", "bold"), f" {__version__}: reinforcement learning of embodied policies\n"))

    def show(title: str, rows: list[tuple[str, str]]) -> None:
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, show_header=False, padding=(0, 2)
        )
        table.add_column(style="cyan", no_wrap=True)
        table.add_column()
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print()

    show("Commands", [(item.name.replace("_", "-"), item.summary) for item in list_modules("vlarl.commands")])
    configs = list_names("configs")
    if configs:
        show("Experiments (vlarl train NAME)", [(item.name, item.summary) for item in configs])
    console.print("vlarl COMMAND --help shows a command's flags and an example; vlarl list shows everything by name.")


if __name__ == "__main__":
    sys.exit(main())
