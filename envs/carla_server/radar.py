"""Detections of radars: rays spread evenly over the field, and the speed at which what they meet comes nearer."""

from __future__ import annotations

import math

import numpy as np

from envs.carla_server.actors import Body, Sensor
from envs.carla_server.cameras import Camera
from envs.carla_server.episode import Episode
from envs.driving.pinhole import axes

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
"""Multiples of it, modulo 1, are spread evenly (Roberts 2018 gives the theory)."""
DETECTION = np.dtype([("velocity", "<f4"), ("azimuth", "<f4"), ("altitude", "<f4"), ("depth", "<f4")])


def detect(sensor: Sensor, episode: Episode, camera: Camera, seconds: float, parent: Body | None) -> bytes:
    """What a radar sends after so many seconds.

    Args:
        sensor: its attributes.
        episode: where.
        camera: casts the rays.
        seconds: since it sent last.
        parent: what carries it.
    """
    count = int(min(max(sensor.attribute("points_per_second", 1500.0), 0.0) * seconds, episode.limits.image_pixels))
    number = np.arange(count)
    wide, high = (math.radians(sensor.attribute(f"{name}_fov", 30.0)) for name in ("horizontal", "vertical"))
    azimuth = wide * ((number * GOLDEN + episode.frame * GOLDEN) % 1.0 - 0.5)
    altitude = high * ((number + 0.5) / max(count, 1) - 0.5)
    rays = np.stack([np.cos(altitude) * np.cos(azimuth), np.cos(altitude) * np.sin(azimuth), np.sin(altitude)], axis=1)
    pose = episode.pose(sensor)
    distances, _, actors = camera.cast(pose, rays, sensor.attribute("range", 100.0), parent)
    met = np.isfinite(distances)
    slots = {body.id: slot for slot, body in episode.actors.bodies.items()}
    own = _velocity(episode, parent.slot) if parent is not None else np.zeros(3)
    speeds = np.zeros((int(met.sum()), 3))
    for place, actor in enumerate(actors[met]):
        if int(actor) in slots:
            speeds[place] = _velocity(episode, slots[int(actor)])
    found = np.zeros(int(met.sum()), DETECTION)
    found["velocity"] = np.einsum("ij,ij->i", speeds - own, (rays @ axes(*pose[3:]))[met])
    found["azimuth"], found["altitude"], found["depth"] = azimuth[met], altitude[met], distances[met]
    return found.tobytes()


def _velocity(episode: Episode, slot: int) -> np.ndarray:
    body = episode.bodies[slot]
    return np.array([float(body["velocity_x"]), -float(body["velocity_y"]), 0.0])
