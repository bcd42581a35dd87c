"""``VecEnv`` in the process that learns: for environments so cheap that sending messages would cost more than stepping.

Exceptions become ``ERROR`` episodes as in a worker process; a crash or a hang takes the run with it, which ``--resume``
then continues.
"""

from __future__ import annotations

from collections.abc import Sequence

from vlarl.env_protocol import Env, EnvConfig, EpisodeSpec, Float32Array
from vlarl.sim_worker import lose, serve
from vlarl.vec_env import SlotEvent


class LocalSlots:
    """``num_slots`` slots stepped one after the other.

    Args:
        config: the environment.
        tasks: built before the first episode.
        num_slots: episodes in flight; one is enough.
    """

    deaths = 0

    def __init__(self, config: EnvConfig, *, tasks: Sequence[tuple[str, int]] = (), num_slots: int = 1) -> None:
        self.num_slots = num_slots
        self.cpu_seconds = 0.0  # what is spent here is the main process's own time
        self._config = config
        self._slots: dict[int, Env] = {}
        self._events: list[SlotEvent] = []
        config.warm_up(list(tasks))

    def reset(self, slot: int, spec: EpisodeSpec) -> None:
        """Start an episode."""
        self._serve(slot, spec)

    def step_chunk(self, slot: int, actions: Float32Array) -> None:
        """Run a chunk."""
        self._serve(slot, actions)

    def wait(self) -> list[SlotEvent]:
        """Everything that has finished, in slot order."""
        if not self._events:
            raise ValueError("wait() with nothing asked for")
        events, self._events = sorted(self._events, key=lambda event: event.slot), []
        return events

    def memory_bytes(self) -> int:
        """Nothing beside this process."""
        return 0

    def close(self) -> None:
        """Free the environments; calling it twice is allowed."""
        for env in self._slots.values():
            env.close()
        self._slots = {}

    def __enter__(self) -> LocalSlots:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, slot: int, request: EpisodeSpec | Float32Array) -> None:
        try:
            result = serve(self._slots, self._config, slot, request)
        except Exception as error:  # any simulator failure is an ERROR episode, never a lost run
            result = lose(self._slots, slot, error)
        self._events.append(SlotEvent(slot, result))
