"""What is true of a bird's-eye picture, in plain sentences: from the world's own state, to teach image-text models.

A *fact* is a question with two or three answers (is somebody close ahead, nobody, or neither clearly?); every answer
has a few sentences that say it. A fact that is on the border between its answers is left undecided, as is one that the
picture does not show. The picture is that of :mod:`envs.driving.views.birds_eye_picture` with ``AHEAD`` metres in front
of the ego, ``BEHIND`` behind it and ``ASIDE`` to either side. A still picture does not show the ego's speed: no
sentence is about it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.driving.views import route_ahead
from envs.driving.views.birds_eye import View
from envs.driving.views.route_ahead import RouteAhead
from envs.driving.views.vector_observation import FAR
from envs.driving.world.records import Kind
from envs.driving.world.world import DrivingWorlds

VIEW = View(size=64, pixels_per_metre=2.0, from_bottom=16.0)
"""The picture that the sentences are about: ``--env.resolution 64 --env.view-metres 32``."""
AHEAD, BEHIND, ASIDE = 24.0, 8.0, 16.0
"""Metres around the ego's centre."""
CLOSE, FREE = 6.0, 22.0
"""Bumper to bumper: closer is close, further is out of the picture, metres."""
LINE_NEAR, LINE_FAR = 18.0, 24.0
"""Bumper to a stop line that certainly is in the picture, and that certainly is not, metres."""
CENTRED, ASTRAY = 0.4, 1.0
"""Metres off the route's centre."""
ALONG, ACROSS = np.radians(15.0), np.radians(35.0)
"""Of the ego's heading to the route's."""
PEDESTRIAN_AHEAD, PEDESTRIAN_ASIDE = 15.0, 6.0
"""Whoever is within these metres of the ego's front counts as ahead."""
UNDECIDED = -1

SENTENCES: dict[str, tuple[tuple[str, ...], ...]] = {
    "crash": (
        ("no car has hit anything", "the car touches nobody", "there is no collision", "nobody touches the car"),
        (
            "two cars have collided with each other on the road",
            "the car has hit something",
            "there is a collision",
            "the car has a collision",
        ),
    ),
    "vehicle": (
        (
            "the lane ahead is free",
            "there is no car ahead",
            "nobody is ahead of the car",
            "no car is in the lane ahead",
        ),
        ("a car is close ahead", "there is a car right ahead", "the car ahead is close", "somebody is close ahead"),
    ),
    "light": (
        ("there is no traffic light ahead", "no traffic light is near", "no light is ahead", "there is no light near"),
        (
            "the traffic light ahead is red",
            "there is a red light ahead",
            "a red traffic light is near",
            "the light is red",
        ),
        (
            "the traffic light ahead is green",
            "there is a green light ahead",
            "a green traffic light is near",
            "the light is green",
        ),
    ),
    "person": (
        (
            "there are no people on the road",
            "no pedestrian is near",
            "nobody walks here",
            "there is no pedestrian near",
        ),
        (
            "a pedestrian is ahead",
            "somebody walks ahead of the car",
            "there are people ahead",
            "a pedestrian walks ahead",
        ),
    ),
    "road": (
        (
            "the car is on the road",
            "the car drives on the road",
            "the road is under the car",
            "the car has not left the road",
        ),
        ("the car is off the road", "the car has left the road", "the car drives on grass", "the car is on the grass"),
    ),
    "lane": (
        (
            "the car is at the centre of its lane",
            "the car keeps its lane",
            "the lane is kept",
            "the car is in its lane",
        ),
        (
            "the car is far from the centre of its lane",
            "the car has left its lane",
            "the lane is not kept",
            "the car is not in its lane",
        ),
    ),
    "heading": (
        (
            "the car heads along the road",
            "the car points along its lane",
            "the car is straight",
            "the car is not turned",
        ),
        (
            "the car is turned away from its lane",
            "the car points across the road",
            "the car is across",
            "the car is turned",
        ),
    ),
    "junction": (
        ("the car is on an open road", "there is no junction near", "no crossing is near", "the road has no junction"),
        ("the car is in a junction", "the car crosses a junction", "the car is in a crossing", "here is a junction"),
    ),
    "clear": (
        ("the road is not clear", "there is danger ahead", "the car must be careful", "the car is in danger"),
        (
            "the road is clear with no car accidents",
            "the road ahead is clear",
            "there is no danger ahead",
            "the road is clear",
        ),
    ),
}
"""Fact -> per answer the sentences that say it; the last one of each is kept from training."""


class Captions:
    """Decides the facts of all worlds of a batch.

    Example::

        answers = Captions(worlds).answers()      # int8 [N, len(SENTENCES)], UNDECIDED or an answer's number
    """

    def __init__(self, worlds: DrivingWorlds) -> None:
        self.worlds = worlds
        self.ahead = RouteAhead(worlds)

    def answers(self) -> NDArray[np.int8]:
        """``int8 [N, F]``, facts in the order of ``SENTENCES``."""
        worlds, ego = self.worlds.worlds, self.worlds.actors[:, 0]
        ahead = self.ahead.observe()
        gap, line, junction = (FAR * ahead[:, n] for n in (route_ahead.GAP, route_ahead.LINE, route_ahead.JUNCTION))
        red, yellow, sign = (ahead[:, n] > 0 for n in (route_ahead.IS_RED, route_ahead.IS_YELLOW, route_ahead.IS_SIGN))
        crash = ego["touching"] >= 0
        near, far = (line >= 0.0) & (line < LINE_NEAR), line > LINE_FAR
        walks_ahead, nobody = self._people()
        offset, angle = np.abs(worlds["route_offset"]), np.abs(worlds["route_angle"])
        off, on = worlds["off_road_fraction"] > 0.5, worlds["off_road_fraction"] == 0.0
        inside = (worlds["lane"] >= 0) & (self.worlds.map.lanes["junction"][worlds["lane"]] >= 0)
        danger = crash | (gap < CLOSE) | (near & red) | walks_ahead | off
        calm = ~crash & (gap > FREE) & (far | (near & ~red & ~yellow & ~sign)) & nobody & on
        calm &= (offset < ASTRAY) & (angle < ALONG)
        facts = {
            "crash": (~crash, crash),
            "vehicle": (gap > FREE, gap < CLOSE),
            "light": (far, near & red, near & ~red & ~yellow & ~sign),
            "person": (nobody, walks_ahead),
            "road": (on, off),
            "lane": (offset < CENTRED, offset > ASTRAY),
            "heading": (angle < ALONG, angle > ACROSS),
            "junction": (~inside & (junction > LINE_FAR), inside),
            "clear": (danger, calm),
        }
        return np.column_stack([_decide(facts[name]) for name in SENTENCES])

    def _people(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether somebody walks right ahead of the ego, and whether there is nobody in the picture."""
        actors = self.worlds.actors
        walks = (actors["active"] != 0) & (actors["kind"] == Kind.PEDESTRIAN)
        ego = actors[:, :1]
        dx, dy, cos, sin = (
            actors["x"] - ego["x"],
            actors["y"] - ego["y"],
            np.cos(ego["heading"]),
            np.sin(ego["heading"]),
        )
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        ahead = walks & (along > 0) & (along < PEDESTRIAN_AHEAD) & (np.abs(across) < PEDESTRIAN_ASIDE)
        seen = walks & (along > -BEHIND) & (along < AHEAD) & (np.abs(across) < ASIDE)
        return ahead.any(axis=1), ~seen.any(axis=1)


def _decide(holds: tuple[NDArray[np.bool_], ...]) -> NDArray[np.int8]:
    """The number of the answer that holds; at most one of them does."""
    answer = np.full(len(holds[0]), UNDECIDED, np.int8)
    for number, which in enumerate(holds):
        answer[which] = number
    return answer
