"""Reward terms, one file each: a config dataclass with ``build()`` and the term itself."""
