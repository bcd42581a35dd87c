"""A PID controller with a bounded memory, for steering and pedals."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field

REMEMBERED = 10
"""Errors that the integral sums up, as CARLA's own agents do: it forgets, and cannot wind up."""


@dataclass
class Pid:
    """``K_P * e + K_I * integral of e + K_D * de/dt``, clipped.

    Example::

        pid = Pid(K_P=1.0, K_D=0.1, low=-1.0, high=1.0)
        steer = pid.step(error=0.3, seconds=0.05)
    """

    K_P: float = 1.0
    K_I: float = 0.0
    K_D: float = 0.0
    low: float = -1.0
    high: float = 1.0
    _errors: collections.deque[float] = field(default_factory=lambda: collections.deque(maxlen=REMEMBERED), repr=False)

    def step(self, error: float, seconds: float) -> float:
        """The answer to an error that has held since ``seconds`` ago.

        Raises:
            ValueError: no time has passed.
        """
        if not seconds > 0.0:
            raise ValueError(f"{seconds} seconds between two steps; more than 0 are needed")
        slope = (error - self._errors[-1]) / seconds if self._errors else 0.0
        self._errors.append(error)
        value = self.K_P * error + self.K_I * sum(self._errors) * seconds + self.K_D * slope
        return min(max(value, self.low), self.high)

    def reset(self) -> None:
        """Forget."""
        self._errors.clear()
