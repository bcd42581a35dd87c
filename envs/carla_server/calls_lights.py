"""Calls about traffic lights. A method is a call's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envs.carla_server import reading
from envs.carla_server.limits import CallError

if TYPE_CHECKING:
    from envs.carla_server.peers import RpcPeer
    from envs.carla_server.server import CarlaServer
    from envs.carla_server.signals import Lights

STATES = 5
LONGEST = 1e5
"""Seconds that a light may stay as it is."""


class LightCalls:
    """See the module."""

    def __init__(self, server: CarlaServer) -> None:
        self._server = server

    @property
    def _lights(self) -> Lights:
        return self._server.episode.lights

    def set_traffic_light_state(self, peer: RpcPeer, number: int, state: int) -> None:
        """Show something until the cycle goes on."""
        if reading.whole(state, "state") >= STATES:
            raise CallError(f"traffic light state is {state}; 0 to {STATES - 1} are possible")
        self._lights.set_state(self.light(number), state)

    def set_traffic_light_green_time(self, peer: RpcPeer, number: int, seconds: float) -> None:
        """How long it is green from the next time on."""
        self._set("green", number, seconds)

    def set_traffic_light_yellow_time(self, peer: RpcPeer, number: int, seconds: float) -> None:
        """How long it is yellow from the next time on."""
        self._set("yellow", number, seconds)

    def set_traffic_light_red_time(self, peer: RpcPeer, number: int, seconds: float) -> None:
        """How long all lights are red after it, from the next time on."""
        self._set("red", number, seconds)

    def freeze_traffic_light(self, peer: RpcPeer, number: int, frozen: bool) -> None:
        """Stop the time of its junction, or let it go on."""
        cycle = self._cycle(number)
        if cycle >= 0:
            self._lights.freeze(cycle, bool(frozen))

    def freeze_all_traffic_lights(self, peer: RpcPeer, frozen: bool) -> None:
        """The same for all junctions."""
        for cycle in range(len(self._lights.cycles)):
            self._lights.freeze(cycle, bool(frozen))

    def reset_traffic_light_group(self, peer: RpcPeer, number: int) -> None:
        """Start the cycle of its junction anew."""
        cycle = self._cycle(number)
        if cycle >= 0:
            self._lights.reset(cycle)

    def reset_all_traffic_lights(self, peer: RpcPeer) -> None:
        """Start all cycles anew."""
        self._lights.reset()

    def get_group_traffic_lights(self, peer: RpcPeer, number: int) -> list[int]:
        """All lights of its junction."""
        light = self.light(number)
        cycle = self._lights.cycle_of[light]
        kin = self._lights.cycle_of == cycle if cycle >= 0 else self._lights.records["id"] == number
        return [int(actor) for actor in self._lights.records["id"][kin]]

    def get_light_boxes(self, peer: RpcPeer, number: int) -> list[list[list[float]]]:
        """Boxes of its lamps: one, at its place."""
        place = self._lights.signs[self.light(number)].pose
        return [[[place.x, place.y, place.z + 3.0], [0.2, 0.2, 0.5], list(place[3:])]]

    def light(self, number: int) -> int:
        """Place of a light by its actor's id.

        Raises:
            CallError: there is none.
        """
        place = reading.whole(number) - self._lights.first_id
        if not 0 <= place < len(self._lights.signs):
            raise CallError(f"actor {number} is no traffic light")
        return place

    def _cycle(self, number: int) -> int:
        return int(self._lights.cycle_of[self.light(number)])

    def _set(self, name: str, number: int, seconds: float) -> None:
        value = reading.number(seconds, f"{name} time")
        if not 0.0 <= value <= LONGEST:
            raise CallError(f"{name} time is {value}; 0 to {LONGEST:g} s are possible")
        self._lights.set_seconds(self.light(number), name, value)
