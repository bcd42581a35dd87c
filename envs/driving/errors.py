"""What goes wrong with maps, routes and starts; all are the user's to fix."""

from __future__ import annotations

from vlarl.errors import UserError


class MapError(UserError):
    """A map that cannot be read or used; the message names file, line, road and element."""


class RouteError(UserError):
    """No way leads from one place of a map to the other; the message names both lanes."""


class SpawnError(UserError):
    """An actor cannot be put where it was asked for; the message names the place and what stands there."""
