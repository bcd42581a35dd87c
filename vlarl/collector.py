"""Turns episode specs into trajectories; training, evaluation and data collection all use this one.

Refill, not waves: a slot whose episode ended takes the next spec at once. Whatever slots are ready are
given to the policy together; the others keep simulating meanwhile.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from vlarl.env_protocol import EpisodeSpec, Float32Array, Observation, Outcome, StepResult
from vlarl.policy import Decoding, Policy
from vlarl.reward import Watch
from vlarl.seeding import episode_noise
from vlarl.types import PolicyOutput, Trajectory
from vlarl.vec_env import SlotEvent, VecEnv


class SimulatorErrorRateError(RuntimeError):
    """More simulator errors than a run may have; the message lists their causes."""


@dataclass(slots=True)
class _Episode:
    """An episode in flight."""

    index: int
    trajectory: Trajectory
    noise: Iterator[Float32Array]


@dataclass(slots=True)
class CollectionStats:
    """What a collection cost."""

    seconds: float = 0.0
    policy_seconds: float = 0.0
    policy_cpu_seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    """CPU seconds by simulator phase (``simulate``, ``render``), summed over workers."""
    steps: int = 0
    decisions: int = 0


class Collector:
    """Plays episodes on a ``VecEnv`` with a policy.

    Args:
        policy: decides; never trained here.
        vec_env: slots to play on.
        max_error_fraction: the collection stops with ``SimulatorErrorRateError`` when more than this share of at least
            16 finished episodes were simulator errors.
    """

    def __init__(self, policy: Policy, vec_env: VecEnv, *, max_error_fraction: float = 0.25) -> None:
        # One intra-op thread: the same bits on every machine. Simulators and the learner's threads use the other cores.
        torch.set_num_threads(1)
        self.policy = policy
        self.vec_env = vec_env
        self.max_error_fraction = max_error_fraction
        self.stats = CollectionStats()
        self._keep_inputs = True
        self._watch: Watch | None = None

    def collect(
        self,
        specs: Iterable[EpisodeSpec],
        decoding: Decoding,
        *,
        on_episode: Callable[[Trajectory], None] | None = None,
        annealing: Callable[[int], float] | None = None,
        keep_inputs: bool = True,
        watch: Watch | None = None,
    ) -> list[Trajectory]:
        """Play every spec once and return the trajectories in the order of ``specs``.

        ``annealing`` gives the temperature of an episode's n-th decision, in place of ``decoding``'s. Without
        ``keep_inputs`` the trajectories forget all observations but the last, and the policy's inputs: what is only
        counted needs no memory for pictures. ``watch`` is shown what every decision led to.

        Raises:
            SimulatorErrorRateError: see ``max_error_fraction``.
        """
        waiting = deque(enumerate(specs))
        finished: dict[int, Trajectory] = {}
        playing: dict[int, _Episode] = {}
        started = time.perf_counter()
        self.stats = CollectionStats()
        self._keep_inputs, self._watch = keep_inputs, watch
        for slot in range(self.vec_env.num_slots):
            self._start_next(slot, waiting, playing)
        ready: list[int] = []
        while playing:
            for event in self.vec_env.wait():
                episode = playing[event.slot]
                self._record(episode, event)
                if episode.trajectory.outcome.has_ended:
                    finished[episode.index] = episode.trajectory
                    if on_episode is not None:
                        on_episode(episode.trajectory)
                    self._check_errors(finished)
                    del playing[event.slot]
                    self._start_next(event.slot, waiting, playing)
                else:
                    ready.append(event.slot)
            # A policy costs less per episode in a batch, and the other slots keep the workers busy meanwhile.
            if len(ready) >= max(1, len(playing) // 4):
                for slots, how in _by_temperature(ready, playing, decoding, annealing):
                    self._decide(slots, playing, how)
                ready = []
        self.stats.seconds = time.perf_counter() - started
        return [finished[index] for index in sorted(finished)]

    def _start_next(self, slot: int, waiting: deque[tuple[int, EpisodeSpec]], playing: dict[int, _Episode]) -> None:
        if not waiting:
            return
        index, spec = waiting.popleft()
        trajectory = Trajectory(
            spec=spec, observations=[], outputs=[], executed=[], env_rewards=[], outcome=Outcome.RUNNING
        )
        playing[slot] = _Episode(index, trajectory, episode_noise(spec, self.policy.noise_shape))
        self.vec_env.reset(slot, spec)

    def _record(self, episode: _Episode, event: SlotEvent) -> None:
        trajectory, result = episode.trajectory, event.result
        if isinstance(result, Observation):
            trajectory.observations.append(result)
            return
        trajectory.outcome = result.outcome
        if result.outcome is Outcome.ERROR:
            trajectory.error = str(result.events.get("error", "unknown"))
            return
        self._record_chunk(trajectory, result)

    def _record_chunk(self, trajectory: Trajectory, result: StepResult) -> None:
        trajectory.executed.append(result.executed)
        trajectory.env_rewards.append(result.reward)
        trajectory.frames.extend(result.frames)
        told = dict(result.events)
        for name in [name for name in told if name.startswith("seconds/")]:
            phase, value = name.removeprefix("seconds/"), told.pop(name)
            trajectory.seconds[phase] = trajectory.seconds.get(phase, 0.0) + value
            self.stats.phases[phase] = self.stats.phases.get(phase, 0.0) + value
        trajectory.events.append(told)
        if result.outcome is Outcome.TRUNCATED:
            trajectory.final_observation = result.observation
        self.stats.steps += int(result.executed.sum())
        if self._watch is not None and result.observation is not None:
            self._watch(trajectory, result.observation)
        if result.outcome is Outcome.RUNNING:
            assert result.observation is not None  # only errors have none
            if not self._keep_inputs:
                trajectory.observations.clear()
            trajectory.observations.append(result.observation)

    def _decide(self, ready: list[int], playing: dict[int, _Episode], decoding: Decoding) -> None:
        if not ready:
            return
        started, busy = time.perf_counter(), time.process_time()
        episodes = [playing[slot] for slot in ready]
        outputs: list[PolicyOutput] = self.policy.act(
            [episode.trajectory.observations[-1] for episode in episodes],
            [next(episode.noise) for episode in episodes],
            decoding,
        )
        self.stats.policy_seconds += time.perf_counter() - started
        self.stats.policy_cpu_seconds += time.process_time() - busy
        self.stats.decisions += len(outputs)
        for slot, episode, output in zip(ready, episodes, outputs, strict=True):
            episode.trajectory.outputs.append(output if self._keep_inputs else replace(output, inputs={}))
            self.vec_env.step_chunk(slot, output.actions)

    def _check_errors(self, finished: dict[int, Trajectory]) -> None:
        errors = [t for t in finished.values() if t.outcome is Outcome.ERROR]
        if len(finished) >= 16 and len(errors) > self.max_error_fraction * len(finished):
            causes = Counter(t.error.splitlines()[0] for t in errors).most_common()
            raise SimulatorErrorRateError(
                f"{len(errors)} of {len(finished)} episodes ended in simulator errors (allowed: "
                f"{self.max_error_fraction:.0%}). Causes:\n"
                + "\n".join(f"- {count} x {cause}" for cause, count in causes)
            )


def _by_temperature(
    ready: list[int], playing: dict[int, _Episode], decoding: Decoding, annealing: Callable[[int], float] | None
) -> list[tuple[list[int], Decoding]]:
    """Slots that can decide together, and how."""
    if annealing is None:
        return [(ready, decoding)]
    together: dict[float, list[int]] = {}
    for slot in ready:
        together.setdefault(annealing(len(playing[slot].trajectory.outputs)), []).append(slot)
    return [(slots, replace(decoding, temperature=value)) for value, slots in together.items()]


def add_final_inputs(policy: Policy, trajectories: Iterable[Trajectory], decoding: Decoding) -> None:
    """Give truncated episodes the policy's inputs after their last decision: a critic says what was still to come."""
    cut = [t for t in trajectories if t.final_observation is not None]
    neutral = np.full(policy.noise_shape, 0.5, dtype=np.float32)
    for start in range(0, len(cut), 16):
        part = cut[start : start + 16]
        seen = [t.final_observation for t in part if t.final_observation is not None]
        for trajectory, output in zip(part, policy.act(seen, [neutral] * len(part), decoding), strict=True):
            trajectory.final_inputs = output.inputs
