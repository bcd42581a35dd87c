"""Slots that are stepped together: what is asked is gathered, and who fails fails alone."""

import numpy as np
import pytest

from vlarl.batch_slots import BatchSlots
from vlarl.env_protocol import EnvError, EpisodeSpec, Observation, Outcome, StepResult


class Counting:
    """Counts control steps per slot; an action of 7 breaks the slot, one of 9 the batch."""

    def __init__(self):
        self.counts, self.calls, self.abandoned, self.closed = {}, [], [], False

    def answer(self, requests):
        self.calls.append(list(requests))
        return {slot: self.one(slot, request) for slot, request in requests.items()}

    def one(self, slot, request):
        if isinstance(request, EpisodeSpec):
            self.counts[slot] = 0
            return self.seen(slot)
        if request[0, 0] == 9.0:
            raise RuntimeError("everything is broken")
        if request[0, 0] == 7.0 or slot not in self.counts:
            return EnvError(f"slot {slot} is broken")
        self.counts[slot] += 1
        ran = np.ones(1, np.bool_)
        return StepResult(
            observation=self.seen(slot), executed=ran, reward=ran.astype(np.float32), outcome=Outcome.RUNNING
        )

    def seen(self, slot):
        return Observation(images={}, state=np.array([self.counts[slot]], np.float32), instruction="", time=0.0)

    def abandon(self, slot):
        self.abandoned.append(slot)
        self.counts.pop(slot, None)

    def close(self):
        self.closed = True


class Config:
    def __init__(self):
        self.made, self.warmed = [], []

    def warm_up(self, tasks):
        self.warmed += tasks

    def make_batch(self, slots, threads):
        self.made.append(Counting())
        return self.made[-1]


SPEC = EpisodeSpec(suite="s", task=0, instruction="", init_state=0, seed=0)


def chunk(value):
    return np.full((1, 1), value, np.float32)


def test_everything_asked_is_answered_in_one_call_in_slot_order():
    config = Config()
    with BatchSlots(config, tasks=[("s", 0)], num_slots=3) as slots:
        assert config.warmed == [("s", 0)]
        for slot in (2, 0):
            slots.reset(slot, SPEC)
        assert [event.slot for event in slots.wait()] == [0, 2]
        slots.step_chunk(2, chunk(1.0))
        slots.reset(1, SPEC)
        events = slots.wait()
        assert [(event.slot, type(event.result)) for event in events] == [(1, Observation), (2, StepResult)]
        assert config.made[0].calls == [[0, 2], [1, 2]]
    assert config.made[0].closed


def test_a_slot_that_fails_is_an_error_of_its_own():
    config = Config()
    slots = BatchSlots(config, num_slots=2)
    for slot in (0, 1):
        slots.reset(slot, SPEC)
    slots.wait()
    slots.step_chunk(0, chunk(7.0))
    slots.step_chunk(1, chunk(1.0))
    broken, fine = (event.result for event in slots.wait())
    assert broken.outcome is Outcome.ERROR and "EnvError: slot 0 is broken" in broken.events["error"]
    assert fine.outcome is Outcome.RUNNING and fine.observation.state == 1.0
    assert config.made[0].abandoned == [0]


def test_a_batch_that_fails_is_built_anew():
    config = Config()
    slots = BatchSlots(config, num_slots=3)
    for slot in range(3):
        slots.reset(slot, SPEC)
    slots.wait()
    slots.step_chunk(0, chunk(9.0))
    slots.step_chunk(1, chunk(1.0))
    results = [event.result for event in slots.wait()]
    assert all(r.outcome is Outcome.ERROR and "everything is broken" in r.events["error"] for r in results)
    assert len(config.made) == 2 and config.made[0].closed
    slots.step_chunk(2, chunk(1.0))  # its episode was in the batch that is gone
    slots.reset(0, SPEC)
    fresh, lost = (event.result for event in slots.wait())
    assert isinstance(fresh, Observation)
    assert lost.outcome is Outcome.ERROR


def test_misuse_is_refused():
    slots = BatchSlots(Config(), num_slots=1)
    with pytest.raises(ValueError, match="nothing asked"):
        slots.wait()
    with pytest.raises(IndexError, match=r"slot 1 is not in 0\.\.0"):
        slots.reset(1, SPEC)
    slots.reset(0, SPEC)
    with pytest.raises(ValueError, match="still busy"):
        slots.step_chunk(0, chunk(1.0))
