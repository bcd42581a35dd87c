"""Any environment with faults on demand: the spec's instruction says what goes wrong and when.

``kill@2`` kills the worker process with SIGKILL in the second chunk of that episode, ``raise@reset`` fails its reset.
Used by the fault benchmark and by the tests.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlarl.env_protocol import Env, EnvConfig, EnvError, EpisodeSpec, Float32Array, Observation, StepResult, TaskInfo


def _fail(env: Any) -> None:
    raise EnvError("failed on purpose")


def _crash(env: Any) -> None:
    raise RuntimeError("an exception nobody expected, on purpose")


def _kill(env: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _segfault(env: Any) -> None:
    ctypes.string_at(0)


def _hang(env: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _no_shared_memory(env: Any) -> None:
    """Limit the size of files, which anonymous shared memory obeys too; larger frames then need new memory."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _not_finite(env: Any) -> None:
    env.slot.data.qpos[0] = np.nan


def _unstable(env: Any) -> None:
    env.slot.data.qvel[0] = 1e12


def _no_graphics(env: Any) -> None:
    """Forget the graphics context and let the driver refuse the next one."""
    import mujoco.gl_context

    from envs.libero import render

    def refuse(*_: object) -> None:
        raise RuntimeError("the graphics driver gave no context, on purpose")

    render._gl = None
    mujoco.gl_context.GLContext = refuse


FAULTS: dict[str, Callable[[Any], None]] = {
    "raise": _fail,
    "crash": _crash,
    "kill": _kill,
    "segfault": _segfault,
    "hang": _hang,
    "memory": _no_shared_memory,
    "nan": lambda env: None,  # these two spoil what the environment returns, see ``FaultyEnv``
    "inf": lambda env: None,
    "physics-nan": _not_finite,
    "unstable": _unstable,
    "graphics": _no_graphics,
}
"""The last three need a MuJoCo slot (``env.slot``), the others work with any environment."""


@dataclass(frozen=True, kw_only=True)
class FaultyConfig:
    """Wraps an environment's configuration."""

    inner: EnvConfig

    def make(self) -> FaultyEnv:
        """Build one slot."""
        return FaultyEnv(self.inner.make())

    def warm_up(self, tasks: list[tuple[str, int]]) -> None:
        """As the wrapped environment."""
        self.inner.warm_up(tasks)

    def protocol(self) -> dict[str, Any]:
        """As the wrapped environment."""
        return self.inner.protocol()

    def task_specs(self, suite: str) -> list[TaskInfo]:
        """As the wrapped environment."""
        return self.inner.task_specs(suite)


class FaultyEnv:
    """One slot."""

    def __init__(self, inner: Env) -> None:
        self._inner = inner
        self._fault, self._when, self._chunks = "", "", 0

    def reset(self, spec: EpisodeSpec) -> Observation:
        """Start the episode; the fault its instruction names comes now or in a later chunk."""
        fault, _, when = spec.instruction.partition("@")
        self._fault, self._when, self._chunks = (fault, when, 0) if fault in FAULTS and when else ("", "", 0)
        if self._when == "reset":
            FAULTS[self._fault](self._inner)
        return self._inner.reset(spec)

    def step_chunk(self, actions: Float32Array) -> StepResult:
        """Run the chunk, with the fault where it is due."""
        self._chunks += 1
        if self._when != str(self._chunks):
            return self._inner.step_chunk(actions)
        FAULTS[self._fault](self._inner)
        return self._spoilt(self._inner.step_chunk(actions))

    def _spoilt(self, result: StepResult) -> StepResult:
        if self._fault in ("nan", "inf") and result.observation is not None:
            state = np.full_like(result.observation.state, np.nan if self._fault == "nan" else np.inf)
            return dataclasses.replace(result, observation=dataclasses.replace(result.observation, state=state))
        if self._fault == "memory" and result.observation is not None:
            images = result.observation.images
            copies = [{name: image.copy() for name, image in images.items()} for _ in range(16)]
            return dataclasses.replace(result, frames=tuple(copies))
        return result

    def close(self) -> None:
        """Close the wrapped slot."""
        self._inner.close()
