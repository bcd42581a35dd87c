"""What the expert may look at: poses, collision shapes, contacts and joints of one simulated task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import mujoco
import numpy as np

from envs.libero.expert.geometry import Array

LEFT_FINGER, RIGHT_FINGER, HAND = "gripper0_leftfinger", "gripper0_rightfinger", "gripper0_right_gripper"


class Simulator(Protocol):
    """What the expert needs of a simulated LIBERO task."""

    model: Any
    data: Any
    goal_state: Any
    language: str

    def reset(self, init_state: int) -> None:
        """Start from the recorded initial state, settled."""
        ...

    def step(self, action: np.ndarray) -> Any:
        """One control step (20 Hz) of a 7-dim OSC_POSE action."""
        ...

    def success(self) -> bool:
        """Whether the benchmark's goal holds now."""
        ...

    def predicate(self, state: list[str]) -> bool:
        """Whether one goal predicate, such as ``["on", "bowl_1", "plate_1"]``, holds now."""
        ...

    def snapshot(self) -> Any:
        """Everything the next steps depend on."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Return to a snapshot."""
        ...


@dataclass(frozen=True, slots=True)
class Joint:
    """A hinge or slide that a skill moves."""

    index: int
    body: int
    is_slide: bool
    low: float
    high: float


class Scene:
    """Privileged view of a ``Simulator``; holds nothing but static facts of the model."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._subtrees: dict[int, list[int]] = {}
        self._shapes: dict[int, tuple[np.ndarray, list[np.ndarray]]] = {}

    @property
    def model(self) -> Any:
        """Compiled MuJoCo model."""
        return self.simulator.model

    @property
    def data(self) -> Any:
        """MuJoCo state of the simulator's slot."""
        return self.simulator.data

    # -- names ---------------------------------------------------------------------------------------------------

    @cached_property
    def _bodies(self) -> dict[str, int]:
        return {self.model.body(i).name: i for i in range(self.model.nbody)}

    @cached_property
    def _sites(self) -> dict[str, int]:
        return {self.model.site(i).name: i for i in range(self.model.nsite)}

    def body(self, name: str) -> int:
        """Body index of an object or fixture by its LIBERO name (its root body is called ``<name>_main``)."""
        for candidate in (f"{name}_main", name, f"{name}_base"):
            if candidate in self._bodies:
                return self._bodies[candidate]
        raise KeyError(f"no body called {name!r}; the task holds {sorted(self.object_names)}")

    @cached_property
    def object_names(self) -> list[str]:
        """Objects and fixtures of the task, the robot left out."""
        return [n.removesuffix("_main") for n in self._bodies if n.endswith("_main") and not n.startswith("robot")]

    def is_site(self, name: str) -> bool:
        """Whether a goal's target is a region (MuJoCo site) and not an object."""
        return name in self._sites

    def site(self, name: str) -> int:
        """Site index."""
        return self._sites[name]

    def owner(self, name: str) -> int | None:
        """Root body of the object that carries a region; None for regions of the table or floor."""
        if not self.is_site(name):
            return self.body(name)
        root = int(self.model.body_rootid[self.model.site_bodyid[self.site(name)]])
        if root != 0:
            return root
        owners = [n for n in self.object_names if name.startswith(f"{n}_")]
        return self.body(max(owners, key=len)) if owners else None

    # -- poses and shapes ----------------------------------------------------------------------------------------

    @cached_property
    def _grip_site(self) -> int:
        return self.site("gripper0_grip_site")

    def hand_position(self) -> Array:
        """Grip site, world frame."""
        return self.data.site_xpos[self._grip_site].copy()

    def hand_rotation(self) -> Array:
        """Grip site, world frame."""
        return self.data.site_xmat[self._grip_site].reshape(3, 3).copy()

    def position(self, name: str) -> Array:
        """Origin of an object's body or centre of a region."""
        if self.is_site(name):
            return self.data.site_xpos[self.site(name)].copy()
        return self.data.xpos[self.body(name)].copy()

    def subtree(self, body: int) -> list[int]:
        """``body`` and everything attached to it."""
        if body not in self._subtrees:
            found = [body]
            for child in range(body + 1, self.model.nbody):
                if int(self.model.body_parentid[child]) in found:
                    found.append(child)
            self._subtrees[body] = found
        return self._subtrees[body]

    def _local_shapes(self, body: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Collision geoms of the subtree of ``body`` and, per geom, points that span its hull in the geom's frame."""
        if body not in self._shapes:
            geoms, clouds = [], []
            for member in self.subtree(body):
                start = int(self.model.body_geomadr[member])
                for geom in range(start, start + int(self.model.body_geomnum[member])):
                    if self.model.geom_contype[geom] or self.model.geom_conaffinity[geom]:
                        geoms.append(geom)
                        clouds.append(self._geom_points(geom))
            self._shapes[body] = (np.array(geoms, dtype=np.int64), clouds)
        return self._shapes[body]

    def _geom_points(self, geom: int) -> np.ndarray:
        kind, size = int(self.model.geom_type[geom]), self.model.geom_size[geom]
        corners = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
        if kind == mujoco.mjtGeom.mjGEOM_BOX:
            # About one point per 2 cm, so that nothing as wide as a finger slips between two points.
            axes = [np.linspace(-s, s, int(np.clip(np.ceil(s / 0.01) + 1, 2, 8))) for s in size]
            return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        if kind == mujoco.mjtGeom.mjGEOM_MESH:
            mesh = int(self.model.geom_dataid[geom])
            start, count = int(self.model.mesh_vertadr[mesh]), int(self.model.mesh_vertnum[mesh])
            vertices = self.model.mesh_vert[start : start + count].astype(np.float64)
            return vertices[:: max(1, count // 400)]
        if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
            return corners * size[0]
        if kind in (mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_CAPSULE):
            length = size[1] + (size[0] if kind == mujoco.mjtGeom.mjGEOM_CAPSULE else 0.0)
            angles = np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)
            ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * size[0]
            return np.concatenate([np.column_stack([ring, np.full(16, s * length)]) for s in (-1.0, 1.0)])
        return corners * size

    def points(self, body: int, low: float = -np.inf, high: float = np.inf) -> Array:
        """World-frame points ``[n, 3]`` spanning those collision geoms of a subtree that reach into ``[low, high]``."""
        geoms, clouds = self._local_shapes(body)
        kept = []
        for geom, cloud in zip(geoms, clouds, strict=True):
            world = cloud @ self.data.geom_xmat[geom].reshape(3, 3).T + self.data.geom_xpos[geom]
            if world[:, 2].min() <= high and world[:, 2].max() >= low:
                kept.append(world)
        return np.concatenate(kept) if kept else np.zeros((0, 3))

    def top(self, name: str) -> float:
        """Highest point of an object's collision shape [m]."""
        return float(self.points(self.body(name))[:, 2].max())

    def bottom(self, name: str) -> float:
        """Lowest point of an object's collision shape [m]."""
        return float(self.points(self.body(name))[:, 2].min())

    @cached_property
    def base(self) -> int:
        """Body of the robot's base."""
        return self._bodies["robot0_link0"]

    # -- contact and joints --------------------------------------------------------------------------------------

    @cached_property
    def _finger_of_body(self) -> dict[int, int]:
        fingers = {}
        for bit, name in ((1, LEFT_FINGER), (2, RIGHT_FINGER)):
            for body in self.subtree(self._bodies[name]):
                fingers[body] = bit
        for body in self.subtree(self._bodies[HAND]):
            fingers.setdefault(body, 4)
        return fingers

    def touching(self, body: int) -> int:
        """Which parts of the hand touch the subtree of ``body``: bit 1 left finger, 2 right finger, 4 palm."""
        members = set(self.subtree(body))
        parts = 0
        for contact in range(int(self.data.ncon)):
            first, second = (int(self.model.geom_bodyid[g]) for g in self.data.contact.geom[contact])
            for hand, other in ((first, second), (second, first)):
                if other in members and hand in self._finger_of_body:
                    parts |= self._finger_of_body[hand]
        return parts

    def is_gripped(self, name: str) -> bool:
        """Whether both fingers touch the object."""
        return self.touching(self.body(name)) & 3 == 3

    def joint_above(self, body: int) -> Joint | None:
        """The nearest hinge or slide between ``body`` and the world."""
        while body > 0:
            start = int(self.model.body_jntadr[body])
            for index in range(start, start + int(self.model.body_jntnum[body])):
                kind = int(self.model.jnt_type[index])
                if kind in (mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE):
                    low, high = (float(v) for v in self.model.jnt_range[index])
                    return Joint(index, body, kind == mujoco.mjtJoint.mjJNT_SLIDE, low, high)
            body = int(self.model.body_parentid[body])
        return None

    def articulation(self, name: str) -> Joint:
        """The joint that opens, closes or turns ``name`` (a drawer's region, a microwave, a stove).

        Raises:
            ValueError: nothing about ``name`` moves.
        """
        if self.is_site(name):
            joint = self.joint_above(int(self.model.site_bodyid[self.site(name)]))
            if joint is not None:
                return joint
        owner = self.owner(name)
        for body in [] if owner is None else self.subtree(owner):
            joint = self.joint_above(body)
            if joint is not None:
                return joint
        raise ValueError(f"nothing about {name!r} opens or turns")

    def joint_axis(self, joint: Joint) -> tuple[Array, Array]:
        """A point of the joint's axis and its unit direction, world frame."""
        return self.data.xanchor[joint.index].copy(), self.data.xaxis[joint.index].copy()

    def outermost(self, body: int, direction: Array) -> tuple[Array, Array]:
        """Centre and half extents (world axes) of the collision geom of ``body`` that reaches furthest out."""
        geoms, clouds = self._local_shapes(body)
        best, centre, extent = -np.inf, np.zeros(3), np.zeros(3)
        for geom, cloud in zip(geoms, clouds, strict=True):
            world = cloud @ self.data.geom_xmat[geom].reshape(3, 3).T + self.data.geom_xpos[geom]
            reach = float((world @ direction).max())
            if reach > best:
                low, high = world.min(axis=0), world.max(axis=0)
                best, centre, extent = reach, (low + high) / 2.0, (high - low) / 2.0
        return centre, extent

    def joint_value(self, joint: Joint) -> float:
        """Position of a joint [m or rad]."""
        return float(self.data.qpos[self.model.jnt_qposadr[joint.index]])

    def holds(self, goal: Sequence[str]) -> bool:
        """Whether a goal predicate holds."""
        return bool(self.simulator.predicate(list(goal)))
