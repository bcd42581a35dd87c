"""The commands of ``vlarl``: one module each, found by name.

A command module has a docstring whose first line is shown in the overview and whose ``Example`` is shown by
``--help``, a dataclass ``Options`` whose fields are the flags (the string under a field is its help), and
``run(options) -> int | None`` (the exit status). Heavy imports belong inside ``run``, so that ``--help`` answers
at once. A command whose flags depend on its arguments defines ``main(arguments: list[str]) -> int | None`` instead.
"""
