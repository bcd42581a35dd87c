"""What a client may ask of the server at most, and how the server refuses."""

from __future__ import annotations

from dataclasses import dataclass

from vlarl.errors import UserError


class CallError(Exception):
    """A call that cannot be answered; the client raises ``RuntimeError`` with this text."""


class ServerError(UserError):
    """The server cannot start: a port in use, an unknown map."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Caps per server. Whoever goes beyond one is refused or disconnected; the others do not notice."""

    connections: int = 64
    """Open at once, calls and streams together."""
    message_bytes: int = 32 * 2**20
    """Of one call with its arguments."""
    pending_bytes: int = 32 * 2**20
    """Waiting for a client that does not read; then its frames are dropped, or its connection is closed."""
    actors: int = 256
    """Vehicles and walkers."""
    sensors: int = 256
    """Sensors and controllers."""
    commands: int = 4096
    """In one batch."""
    image_pixels: int = 2**22
    """Of one camera."""
