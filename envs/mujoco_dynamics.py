"""MuJoCo tasks whose bodies and world differ from episode to episode: for training and testing robust policies.

Parameters of the compiled model, all of them relative to the stock one or in SI units::

    mass       factor of all body masses and inertias     gravity  size of gravity [m/s^2]
    friction   factor of all sliding frictions            wind     head wind in air [m/s]
    actuator   factor of all actuators' gears             delay    control steps by which actions come late
    torso, foot   lengths of a Hopper's or Walker2d's torso and feet [m]; geometry alone, masses stay

``sampler`` says how an episode's parameters follow from its number ``spec.init_state`` (equal specs go on equal):
``nominal``, ``fixed`` (the ``low`` ends of ``ranges``), ``uniform`` (independently in ``ranges``, which ``radius``
shrinks towards nominal), or ``sinusoid`` (``centre + amplitude sin(rate i)``: what AdaRL, arXiv 2510.11899, runs as its
sampling of the Wasserstein ball; its nominal model can be an edge of the range, and no radius is computed).

How far a set of models reaches is measured: ``ModelDistance`` is the Wasserstein distance between next-state
distributions over fixed probe transitions. MuJoCo is deterministic given state and action, so per probe it is the
distance of two points; the mean over probes is reported. ``calibrate_radius`` finds the ``radius`` at which no sampled
model is farther than asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import mujoco
import numpy as np

from envs.mujoco import GymnasiumSlot, MujocoConfig
from vlarl.env_protocol import EpisodeSpec, Float32Array, Observation, StepResult, UnknownTaskError

NOMINAL = {"mass": 1.0, "friction": 1.0, "actuator": 1.0, "gravity": 9.81, "wind": 0.0, "delay": 0.0}
LENGTHS = {"Hopper": {"torso": 0.4, "foot": 0.39}, "Walker2d": {"torso": 0.4, "foot": 0.2}}
"""Nominal lengths [m] by family."""
HIP_HEIGHT = 1.05
"""Height of Hopper's and Walker2d's hip at the start [m]."""
SINUSOIDS = {
    "Hopper": {"torso": (0.4, 0.2, 0.2), "foot": (0.39, 0.2, 0.2)},
    "Walker2d": {"torso": (0.2, 0.1, 0.3), "foot": (0.1, 0.05, 0.3)},
    "Ant": {"gravity": (14.715, 4.905, 0.5), "wind": (1.0, 0.2, 0.5)},
    "Humanoid": {"gravity": (14.715, 4.905, 0.5), "wind": (1.0, 0.5, 0.5)},
}
"""AdaRL's text: parameter -> (centre, amplitude, rate). Walker2d's lengths are half lengths there."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """One parameter and where it may lie."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig(MujocoConfig):
    """Builds slots of one MuJoCo task with varying dynamics."""

    sampler: Literal["nominal", "fixed", "uniform", "sinusoid"] = "nominal"
    ranges: tuple[Range, ...] = ()
    """For ``fixed`` and ``uniform``."""
    radius: float = 1.0
    """Share of the way from nominal to the ends of ``ranges``."""

    def __post_init__(self) -> None:
        known = nominal(self.env_id)
        for item in self.ranges:
            if item.name not in known:
                raise UnknownTaskError(f"{self.env_id} has no parameter {item.name!r}; there are: {', '.join(known)}")
        if self.sampler == "sinusoid":
            sinusoid(family(self.env_id), 0)

    def make(self) -> DynamicsSlot:
        """Build one slot."""
        return DynamicsSlot(self)

    def protocol(self) -> dict[str, Any]:
        """What a number measured here must name."""
        ranges = {item.name: [item.low, item.high] for item in self.ranges}
        return super().protocol() | {"sampler": self.sampler, "ranges": ranges, "radius": self.radius}

    def parameters(self, episode: int) -> dict[str, float]:
        """Parameters of episode number ``episode``, complete."""
        values = nominal(self.env_id)
        if self.sampler == "sinusoid":
            double = family(self.env_id) == "Walker2d"
            found = sinusoid(family(self.env_id), episode)
            values |= {n: 2 * v if double and n in ("torso", "foot") else v for n, v in found.items()}
        elif self.sampler in ("fixed", "uniform"):
            shares = np.random.default_rng([episode, 7919]).random(len(self.ranges))
            for item, share in zip(self.ranges, shares, strict=True):
                wanted = item.low if self.sampler == "fixed" else item.low + float(share) * (item.high - item.low)
                values[item.name] += self.radius * (wanted - values[item.name])
        return values


def family(env_id: str) -> str:
    """``Hopper`` of ``Hopper-v5``."""
    return env_id.partition("-")[0]


def nominal(env_id: str) -> dict[str, float]:
    """Parameters of the stock model."""
    return NOMINAL | LENGTHS.get(family(env_id), {})


def sinusoid(name: str, episode: int) -> dict[str, float]:
    """The paper's parameters of an episode, in its own numbers.

    Raises:
        UnknownTaskError: the paper has none for this environment.
    """
    if name not in SINUSOIDS:
        raise UnknownTaskError(f"no sinusoid for {name!r}; there are: {', '.join(SINUSOIDS)}")
    return {key: c + a * float(np.sin(rate * episode)) for key, (c, a, rate) in SINUSOIDS[name].items()}


class Dynamics:
    """Changes one compiled model, always starting from its stock values.

    Args:
        model: MuJoCo's model.
        data: its state, whose constants are recomputed.
    """

    FIELDS = ("body_mass", "body_inertia", "body_pos", "geom_friction", "geom_size", "actuator_gear")

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self.model, self.data = model, data
        self._stock = {name: getattr(model, name).copy() for name in self.FIELDS}

    def apply(self, values: Mapping[str, float]) -> None:
        """Set parameters (all that ``nominal`` names, ``delay`` apart)."""
        model = self.model
        for name, stock in self._stock.items():
            getattr(model, name)[...] = stock
        model.body_mass *= values["mass"]
        model.body_inertia *= values["mass"]
        model.geom_friction[:, 0] *= values["friction"]
        model.actuator_gear[:, 0] *= values["actuator"]
        model.opt.gravity[:] = (0.0, 0.0, -values["gravity"])
        model.opt.wind[:] = (-values["wind"], 0.0, 0.0)
        if values["wind"]:
            model.opt.density, model.opt.viscosity = 1.2, 2e-5
        else:
            model.opt.density, model.opt.viscosity = 0.0, 0.0
        if "torso" in values:
            self._set_lengths(values["torso"], values["foot"])
        mujoco.mj_setConst(model, self.data)

    def _set_lengths(self, torso: float, foot: float) -> None:
        """A capsule's half length is ``geom_size[1]``; the hip stays where it was."""
        model = self.model
        model.geom(self._geom("torso_geom")).size[1] = torso / 2
        model.body("torso").pos[2] = HIP_HEIGHT + torso / 2
        for body in ("thigh", "thigh_left"):
            if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, body) >= 0:
                model.body(body).pos[2] = -torso / 2
        for geom in ("foot_geom", "foot_left_geom"):
            if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, geom) >= 0:
                model.geom(geom).size[1] = foot / 2

    def _geom(self, name: str) -> str:
        if mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_GEOM, name) < 0:
            raise UnknownTaskError(f"the model has no geom {name!r}")
        return name


class DynamicsSlot(GymnasiumSlot):
    """One slot; its model is changed at every reset."""

    def __init__(self, config: DynamicsConfig) -> None:
        super().__init__(config)
        self.dynamics_config = config
        simulator: Any = self.env.unwrapped
        self.dynamics = Dynamics(simulator.model, simulator.data)
        self.values = nominal(config.env_id)
        self._late: deque[Float32Array] = deque()

    def reset(self, spec: EpisodeSpec) -> Observation:
        """Change the model to what the episode's number says, then start."""
        self.values = self.dynamics_config.parameters(spec.init_state)
        self.dynamics.apply(self.values)
        size = int(np.prod(self.action_shape, dtype=int))
        self._late = deque(np.zeros(size, dtype=np.float32) for _ in range(round(self.values["delay"])))
        return super().reset(spec)

    def step_chunk(self, actions: Float32Array) -> StepResult:
        """Run the actions, late by the episode's delay."""
        if not self._late:
            return super().step_chunk(actions)
        queue = [*self._late, *np.asarray(actions, dtype=np.float32)]
        self._late = deque(queue[len(actions) :])
        return super().step_chunk(np.stack(queue[: len(actions)]))


@dataclass(frozen=True)
class Probe:
    """A state and an action to compare models at."""

    position: np.ndarray
    velocity: np.ndarray
    action: np.ndarray


def probe_transitions(env_id: str, number: int = 64, seed: int = 0) -> list[Probe]:
    """States of the stock model under random actions, and one random action each."""
    slot = DynamicsConfig(env_id=env_id).make()
    rng, probes, episode = np.random.default_rng(seed), [], 0
    space: Any = slot.env.action_space
    spec = EpisodeSpec(suite="", task=0, instruction="", init_state=0, seed=0)
    slot.reset(spec)
    while len(probes) < number:
        action = rng.uniform(space.low, space.high).astype(np.float32)
        data: Any = slot.env.unwrapped
        probes.append(Probe(data.data.qpos.copy(), data.data.qvel.copy(), action))
        if slot.step_chunk(action[None]).outcome.has_ended:
            episode += 1
            slot.reset(replace(spec, init_state=episode))
    slot.close()
    return probes


class ModelDistance:
    """Distances of changed models from the stock one.

    Args:
        env_id: whose model.
        probes: where they are compared.
    """

    def __init__(self, env_id: str, probes: Sequence[Probe]) -> None:
        self._slot = DynamicsConfig(env_id=env_id).make()
        self._probes = probes
        self._nominal = nominal(env_id)
        self._stock = self._next_states(self._nominal)

    def of(self, values: Mapping[str, float]) -> float:
        """Mean over probes of the distance between next states (positions and velocities) [mixed SI units].

        A delay changes no transition, so it is not seen here.
        """
        return float(np.linalg.norm(self._next_states(self._nominal | dict(values)) - self._stock, axis=1).mean())

    def over(self, config: DynamicsConfig, samples: int) -> list[float]:
        """The same of the models of a configuration's first ``samples`` episodes."""
        return [self.of(config.parameters(episode)) for episode in range(samples)]

    def _next_states(self, values: Mapping[str, float]) -> np.ndarray:
        simulator: Any = self._slot.env.unwrapped
        self._slot.dynamics.apply(values)
        states = []
        for probe in self._probes:
            simulator.set_state(probe.position, probe.velocity)
            simulator.do_simulation(probe.action, simulator.frame_skip)
            states.append(np.concatenate((simulator.data.qpos, simulator.data.qvel)))
        return np.stack(states)

    def close(self) -> None:
        """Free the simulator."""
        self._slot.close()


def realised_distances(config: DynamicsConfig, *, samples: int = 32, probes: int = 64) -> list[float]:
    """How far the models of the first ``samples`` episodes are from the stock one."""
    distance = ModelDistance(config.env_id, probe_transitions(config.env_id, probes))
    try:
        return distance.over(config, samples)
    finally:
        distance.close()


def calibrate_radius(
    config: DynamicsConfig, limit: float, *, samples: int = 32, probes: int = 64, rounds: int = 12
) -> tuple[float, float]:
    """The largest ``radius`` in [0, 1] at which no sampled model is farther than ``limit`` from the stock one.

    Returns:
        The radius, and the largest distance that was found at it.
    """
    distance = ModelDistance(config.env_id, probe_transitions(config.env_id, probes))

    def reach(radius: float) -> float:
        return max(distance.over(replace(config, radius=radius), samples))

    low, high = 0.0, 1.0
    if reach(1.0) <= limit:
        low = 1.0
    else:
        for _ in range(rounds):
            middle = (low + high) / 2
            low, high = (middle, high) if reach(middle) <= limit else (low, middle)
    found = reach(low)
    distance.close()
    return low, found
