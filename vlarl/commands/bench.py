"""Measure speed and memory on this machine.

Example::

    vlarl bench
    vlarl bench rollout --suite libero_object --task 0 --workers 2 --json rollout.json
"""

from __future__ import annotations

from collections.abc import Sequence

from vlarl.errors import NameNotFoundError, unknown_name

HELPERS = (
    "measure",
    "contenders",
    "stock",
    "phases",
    "footprint",
    "fault_injection",
    "robust_training",
    "cleanrl",
    "drive_peers",
    "carla_client",
)
"""Modules of ``vlarl/bench`` that are not benchmarks themselves."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark that the first word names; without one, list them."""
    import importlib

    from vlarl.cli import parse, plain_description
    from vlarl.commands.list import show
    from vlarl.resolve import list_modules

    words = list(arguments)
    benches = {item.name: item.summary for item in list_modules("vlarl.bench") if item.name not in HELPERS}
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
