"""Measure speed and memory on this machine.

Example::

    vlarl bench
    vlarl bench rollout --suite libero_object --task 0 --workers 2 --json rollout.json
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlarl.errors import NameNotFoundError, unknown_name


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark that the first word names; without one, list them."""
    import importlib

    from vlarl.cli import parse, plain_description
    from vlarl.commands.list import show

    words = list(arguments)
    benches = benchmarks()
    if not words or words[0] in ("-h", "--help"):
        print(plain_description(__doc__ or ""), end="\n\n")
        show("Benchmarks (vlarl bench NAME)", list(benches.items()))
        return 0
    name = words.pop(0)
    if name not in benches:
        raise NameNotFoundError(unknown_name("benchmark", name, list(benches), "See 'vlarl bench'."))
    module = importlib.import_module(f"vlarl.bench.{name}")
    options = parse(module.Options, words, command=f"bench {name}", description=module.__doc__)
    return int(module.run(options) or 0)


def benchmarks() -> dict[str, str]:
    """Name -> summary: the modules of ``vlarl/bench`` that have flags; the others are parts of these."""
    from vlarl.resolve import list_modules

    found = {}
    for item in list_modules("vlarl.bench"):
        if "\nclass Options:" in Path(item.source).read_text(encoding="utf-8"):
            found[item.name] = item.summary
    return found
