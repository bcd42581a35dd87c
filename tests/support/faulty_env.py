"""The toy environment with faults on demand: the spec's instruction says what goes wrong and when."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import numpy as np

from envs.toy import Toy, ToyConfig
from vlarl.env_protocol import EnvError, Observation


@dataclass(frozen=True, kw_only=True)
class FaultyConfig(ToyConfig):
    def make(self):
        return Faulty(self)


class Faulty(Toy):
    def reset(self, spec):
        self.fault = spec.instruction if "@" in spec.instruction else ""
        self.chunks = 0
        if self.fault == "raise@reset":
            raise EnvError("reset failed on purpose")
        return super().reset(spec)

    def step_chunk(self, actions):
        self.chunks += 1
        kind, _, when = self.fault.partition("@")
        if kind and when.isdigit() and int(when) == self.chunks:
            if kind == "raise":
                raise EnvError("step failed on purpose")
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "hang":
                os.kill(os.getpid(), signal.SIGSTOP)
            if kind == "nan":
                result = super().step_chunk(actions)
                state = np.full_like(result.observation.state, np.nan)
                broken = Observation(images=result.observation.images, state=state, instruction="", time=0.0)
                return type(result)(
                    observation=broken, executed=result.executed, reward=result.reward, outcome=result.outcome
                )
        return super().step_chunk(actions)
