"""What can be spawned: vehicles, walkers and sensors with the ids and attributes that CARLA's client scripts use.

Sizes of vehicles are close to those of CARLA's, and all of them drive alike: the world has one vehicle model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from envs.carla_server.limits import CallError
from envs.carla_server.wire import BACKEND, Stream
from envs.driving.world.records import Kind
from vlarl.errors import unknown_name

BOOL, INT, FLOAT, TEXT, COLOUR = 1, 2, 3, 4, 5
"""Types of attributes on the wire."""
CAR_TAG, TRUCK_TAG, MOTORCYCLE_TAG, BICYCLE_TAG, PEDESTRIAN_TAG = 14, 15, 18, 19, 12
"""Semantic labels."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One attribute of a blueprint."""

    name: str
    type: int
    value: str
    choices: tuple[str, ...] = ()
    modifiable: bool = True

    def packed(self) -> list[Any]:
        """As the definition of a blueprint holds it."""
        return [self.name, self.type, self.value, list(self.choices or (self.value,)), self.modifiable, False]


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """Something that can be spawned."""

    uid: int
    id: str
    attributes: tuple[Attribute, ...] = ()
    kind: Kind = Kind.NONE
    """What it is in the driving world; NONE: no body."""
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Half length, half width, half height, metres."""
    mass: float = 0.0
    """kg."""
    tag: int = 0
    """Semantic label."""
    stream: Stream | None = None
    """What a sensor sends."""

    def packed(self) -> list[Any]:
        """The definition that the client asks for."""
        tags = ",".join(self.id.split("."))
        return [self.uid, self.id, tags, [attribute.packed() for attribute in self.attributes]]

    def fill(self, given: Any) -> dict[str, tuple[int, str]]:
        """Name -> type and value of all attributes, with those that the client gives.

        Raises:
            CallError: an attribute that the blueprint does not have, or that cannot be changed.
        """
        values = {attribute.name: (attribute.type, attribute.value) for attribute in self.attributes}
        known = {attribute.name: attribute for attribute in self.attributes}
        for item in given if isinstance(given, list) else []:
            if not (isinstance(item, list) and len(item) == 3 and all(isinstance(item[i], str) for i in (0, 2))):
                raise CallError(f"attribute {item!r} of {self.id} is not [name, type, value]")
            name, _, value = item
            if name not in known:
                raise CallError(unknown_name(f"attribute of {self.id}", name, known))
            if not known[name].modifiable and value != known[name].value:
                raise CallError(f"attribute {name!r} of {self.id} is {known[name].value!r} and cannot be changed")
            values[name] = (known[name].type, value)
        return values


ROLE = Attribute(name="role_name", type=TEXT, value="autopilot", choices=("autopilot", "scenario", "ego_vehicle"))
COLOURS = ("0,0,0", "255,255,255", "200,30,30", "30,60,160", "110,110,110")


def _fixed(name: str, kind: int, value: str) -> Attribute:
    return Attribute(name=name, type=kind, value=value, modifiable=False)


# id -> half length, half width, half height [m], mass [kg], base type, generation
VEHICLES: dict[str, tuple[float, float, float, float, str, int]] = {
    "audi.a2": (1.85, 0.89, 0.78, 1000.0, "car", 1),
    "audi.etron": (2.43, 1.02, 0.82, 2000.0, "car", 1),
    "audi.tt": (2.09, 1.00, 0.69, 1400.0, "car", 1),
    "bmw.grandtourer": (2.31, 1.12, 0.83, 1500.0, "car", 1),
    "chevrolet.impala": (2.68, 1.02, 0.71, 1700.0, "car", 1),
    "citroen.c3": (1.99, 0.93, 0.81, 1100.0, "car", 1),
    "dodge.charger_2020": (2.50, 1.05, 0.77, 1900.0, "car", 2),
    "ford.mustang": (2.36, 0.95, 0.65, 1500.0, "car", 1),
    "jeep.wrangler_rubicon": (1.93, 0.95, 0.94, 1800.0, "car", 1),
    "lincoln.mkz_2017": (2.45, 1.06, 0.76, 1800.0, "car", 1),
    "lincoln.mkz_2020": (2.45, 1.12, 0.75, 1800.0, "car", 2),
    "mercedes.coupe": (2.51, 1.08, 0.83, 1700.0, "car", 1),
    "mini.cooper_s": (1.90, 0.99, 0.74, 1200.0, "car", 1),
    "nissan.micra": (1.82, 0.92, 0.75, 1000.0, "car", 1),
    "nissan.patrol": (2.30, 0.97, 0.93, 2200.0, "car", 1),
    "seat.leon": (2.10, 0.91, 0.74, 1300.0, "car", 1),
    "tesla.model3": (2.40, 1.08, 0.74, 1800.0, "car", 2),
    "toyota.prius": (2.26, 1.00, 0.76, 1400.0, "car", 1),
    "carlamotors.carlacola": (2.60, 1.31, 1.23, 5500.0, "truck", 1),
    "ford.ambulance": (3.18, 1.18, 1.22, 4500.0, "van", 2),
    "volkswagen.t2": (2.24, 1.03, 1.02, 1500.0, "van", 1),
    "harley-davidson.low_rider": (1.18, 0.38, 0.64, 300.0, "motorcycle", 1),
    "kawasaki.ninja": (1.01, 0.40, 0.71, 250.0, "motorcycle", 1),
    "yamaha.yzf": (1.10, 0.43, 0.63, 220.0, "motorcycle", 1),
    "bh.crossbike": (0.74, 0.43, 0.54, 90.0, "bicycle", 1),
    "diamondback.century": (0.83, 0.37, 0.61, 90.0, "bicycle", 1),
    "gazelle.omafiets": (0.92, 0.33, 0.60, 90.0, "bicycle", 1),
}
WALKERS = 49
KINDS = {"truck": (Kind.TRUCK, TRUCK_TAG), "van": (Kind.TRUCK, TRUCK_TAG)} | {
    "bicycle": (Kind.BICYCLE, BICYCLE_TAG),
    "motorcycle": (Kind.BICYCLE, MOTORCYCLE_TAG),
}


def _vehicle(uid: int, name: str) -> Blueprint:
    *size, mass, base, generation = VEHICLES[name]
    kind, tag = KINDS.get(base, (Kind.CAR, CAR_TAG))
    attributes = (
        ROLE,
        Attribute(name="color", type=COLOUR, value=COLOURS[0], choices=COLOURS),
        Attribute(name="driver_id", type=INT, value="0", choices=("0",)),
        Attribute(name="sticky_control", type=BOOL, value="true"),
        Attribute(name="terramechanics", type=BOOL, value="false"),
        _fixed("object_type", TEXT, ""),
        _fixed("base_type", TEXT, base),
        _fixed("special_type", TEXT, "emergency" if name == "ford.ambulance" else ""),
        _fixed("generation", INT, str(generation)),
        _fixed("number_of_wheels", INT, "2" if kind == Kind.BICYCLE else "4"),
        _fixed("has_lights", BOOL, "true"),
        _fixed("has_dynamic_doors", BOOL, "false"),
    )
    half = (float(size[0]), float(size[1]), float(size[2]))
    return Blueprint(
        uid=uid, id=f"vehicle.{name}", attributes=attributes, kind=kind, size=half, mass=float(mass), tag=tag
    )


def _walker(uid: int, number: int) -> Blueprint:
    attributes = (
        Attribute(name="role_name", type=TEXT, value="pedestrian"),
        Attribute(name="is_invincible", type=BOOL, value="true"),
        Attribute(name="speed", type=FLOAT, value="1.4", choices=("0.0", "1.4", "2.8")),
        _fixed("gender", TEXT, ("male", "female")[number % 2]),
        _fixed("age", TEXT, "adult"),
        _fixed("generation", INT, "1"),
    )
    name = f"walker.pedestrian.{number:04d}"
    size = (0.19, 0.19, 0.93)
    return Blueprint(
        uid=uid, id=name, attributes=attributes, kind=Kind.PEDESTRIAN, size=size, mass=80.0, tag=PEDESTRIAN_TAG
    )


def _numbers(**values: float) -> tuple[Attribute, ...]:
    return tuple(
        Attribute(name=name, type=INT if isinstance(value, int) else FLOAT, value=str(value))
        for name, value in values.items()
    )


CAMERA = _numbers(image_size_x=800, image_size_y=600, fov=90.0, lens_circle_falloff=5.0, lens_circle_multiplier=0.0) + (
    *_numbers(lens_k=-1.0, lens_kcube=0.0, lens_x_size=0.08, lens_y_size=0.08),
)
LENS = (
    "gamma shutter_speed iso fstop min_fstop blade_count exposure_compensation exposure_min_bright exposure_max_bright "
    "exposure_speed_up exposure_speed_down calibration_constant focal_distance blur_amount blur_radius "
    "motion_blur_intensity motion_blur_max_distortion motion_blur_min_object_screen_size slope toe shoulder black_clip "
    "white_clip temp tint bloom_intensity lens_flare_intensity chromatic_aberration_intensity "
    "chromatic_aberration_offset"
)
RGB = (*_numbers(**dict.fromkeys(LENS.split(), 0.0)), Attribute(name="exposure_mode", type=TEXT, value="histogram"))
"""Accepted; images have no lens."""
LIDAR = _numbers(
    channels=32, range=10.0, points_per_second=56000, rotation_frequency=10.0, upper_fov=10.0, lower_fov=-30.0
) + _numbers(horizontal_fov=360.0, noise_seed=0, noise_stddev=0.0)
INTENSITY = _numbers(
    atmosphere_attenuation_rate=0.004,
    dropoff_general_rate=0.45,
    dropoff_intensity_limit=0.8,
    dropoff_zero_intensity=0.4,
)
NOISE = tuple({f"noise_{part}_{axis}": 0.0 for part in ("accel_stddev", "gyro_bias", "gyro_stddev") for axis in "xyz"})
SENSORS: dict[str, tuple[Stream, tuple[Attribute, ...]]] = {
    "sensor.camera.rgb": (
        Stream.RGB,
        (*CAMERA, *RGB, Attribute(name="enable_postprocess_effects", type=BOOL, value="true")),
    ),
    "sensor.camera.depth": (Stream.DEPTH, CAMERA),
    "sensor.camera.semantic_segmentation": (Stream.SEMANTIC, CAMERA),
    "sensor.camera.instance_segmentation": (Stream.INSTANCE, CAMERA),
    "sensor.lidar.ray_cast": (Stream.LIDAR, (*LIDAR, *INTENSITY)),
    "sensor.lidar.ray_cast_semantic": (Stream.SEMANTIC_LIDAR, LIDAR),
    "sensor.other.radar": (
        Stream.RADAR,
        _numbers(horizontal_fov=30.0, vertical_fov=30.0, points_per_second=1500, range=100.0),
    ),
    "sensor.other.collision": (Stream.COLLISION, ()),
    "sensor.other.lane_invasion": (Stream.LANE_INVASION, ()),
    "sensor.other.obstacle": (
        Stream.OBSTACLE,
        (
            *_numbers(distance=5.0, hit_radius=0.5),
            Attribute(name="only_dynamics", type=BOOL, value="false"),
            Attribute(name="debug_linetrace", type=BOOL, value="false"),
        ),
    ),
    "sensor.other.imu": (Stream.IMU, _numbers(**dict.fromkeys(NOISE, 0.0), noise_seed=0)),
    "sensor.other.gnss": (
        Stream.GNSS,
        _numbers(
            **dict.fromkeys(
                (f"noise_{axis}_{part}" for axis in ("alt", "lat", "lon") for part in ("bias", "stddev")), 0.0
            ),
            noise_seed=0,
        ),
    ),
}


NOT_MODELLED: dict[str, tuple[Attribute, ...]] = {
    "sensor.camera.dvs": CAMERA,
    "sensor.camera.normals": CAMERA,
    "sensor.camera.optical_flow": CAMERA,
}
"""In the library, since scripts look them up without using them; spawning one is refused."""


def _sensor(uid: int, name: str) -> Blueprint:
    stream, attributes = SENSORS[name] if name in SENSORS else (None, NOT_MODELLED[name])
    common = (Attribute(name="role_name", type=TEXT, value="front"), *_numbers(sensor_tick=0.0))
    return Blueprint(uid=uid, id=name, attributes=(*common, *attributes), stream=stream)


@dataclass(frozen=True)
class Catalogue:
    """All blueprints by id."""

    by_id: dict[str, Blueprint] = field(default_factory=dict)

    def find(self, name: str) -> Blueprint:
        """The blueprint of an id.

        Raises:
            CallError: there is none.
        """
        if name not in self.by_id:
            raise CallError(unknown_name("blueprint", name, self.by_id).partition(" There are:")[0])
        return self.by_id[name]


def catalogue() -> Catalogue:
    """Everything that can be spawned."""
    names = [*VEHICLES, *range(1, WALKERS + 1), *SENSORS, *NOT_MODELLED]
    found = []
    for uid, name in enumerate(names, start=1):
        if isinstance(name, int):
            found.append(_walker(uid, name))
        else:
            found.append(_vehicle(uid, name) if name in VEHICLES else _sensor(uid, name))
    role = (Attribute(name="role_name", type=TEXT, value=""),)
    found.append(Blueprint(uid=len(found) + 1, id="controller.ai.walker", attributes=role))
    return Catalogue({blueprint.id: blueprint for blueprint in found})


SPECTATOR = Blueprint(uid=0, id="spectator", attributes=(_fixed("backend", TEXT, BACKEND),))
