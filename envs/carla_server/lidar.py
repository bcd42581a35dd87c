"""Points of lidars: rays over the boxes and the level ground that cameras see.

No points are lost and there is no noise (CARLA's ``dropoff`` and ``noise`` attributes have no effect); the intensity
falls with distance alone, and the cosine of incidence is not known: it is 1.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from envs.carla_server.actors import Body, Sensor
from envs.carla_server.cameras import Camera, Rays
from envs.carla_server.limits import Limits
from envs.carla_server.wire import Pose, Stream

_HEAD = struct.Struct("<fI")
DETECTION = np.dtype([("point", "<f4", (3,)), ("cosine", "<f4"), ("actor", "<u4"), ("label", "<u4")])


def directions(sensor: Sensor, seconds: float, angle: float, limits: Limits) -> tuple[Rays, int, float]:
    """The rays ``[channels * steps, 3]`` of a sweep in the sensor's frame, channel by channel.

    Args:
        sensor: its attributes.
        seconds: that the sweep lasts.
        angle: where it begins, degrees.
        limits: no more rays than an image may have pixels.

    Returns:
        Unit vectors, the number of channels, and the angle where the sweep ends, degrees.
    """
    channels = int(min(max(sensor.attribute("channels", 32.0), 1.0), 256.0))
    per_second = min(max(sensor.attribute("points_per_second"), 0.0), 1e8)
    steps = int(min(per_second * seconds, limits.image_pixels) / channels)
    turned = sensor.attribute("rotation_frequency", 10.0) * 360.0 * seconds
    field = sensor.attribute("horizontal_fov", 360.0)
    around = np.radians((angle + turned * np.arange(steps) / max(steps, 1)) % field - field / 2.0)
    rise = np.radians(np.linspace(sensor.attribute("upper_fov"), sensor.attribute("lower_fov"), channels))
    rays = np.empty((channels, steps, 3))
    rays[:, :, 0] = np.cos(rise)[:, None] * np.cos(around)
    rays[:, :, 1] = np.cos(rise)[:, None] * np.sin(around)
    rays[:, :, 2] = np.sin(rise)[:, None]
    return rays.reshape(-1, 3), channels, (angle + turned) % 360.0


def sweep(
    sensor: Sensor, camera: Camera, pose: Pose, seconds: float, angle: float, parent: Body | None, limits: Limits
) -> tuple[bytes, float]:
    """What a lidar sends after so many seconds, and the angle where it goes on."""
    rays, channels, end = directions(sensor, seconds, angle, limits)
    distances, labels, actors = camera.cast(pose, rays, sensor.attribute("range", 10.0), parent)
    met = np.isfinite(distances)
    counts = met.reshape(channels, -1).sum(axis=1).astype("<u4")
    places = (rays[met] * distances[met, None]).astype("<f4")
    if sensor.blueprint.stream == Stream.LIDAR:
        points = np.empty((len(places), 4), "<f4")
        points[:, :3] = places
        points[:, 3] = np.exp(-sensor.attribute("atmosphere_attenuation_rate") * distances[met])
    else:
        points = np.zeros(len(places), DETECTION)
        points["point"], points["actor"], points["label"] = places, actors[met], labels[met]
        points["cosine"] = 1.0
    return _HEAD.pack(math.radians(end), channels) + counts.tobytes() + points.tobytes(), end
