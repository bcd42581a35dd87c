"""The frame scorer: order, batches, waiting, and what becomes of failures."""

import threading

import numpy as np
import pytest

from vlarl.rewards.language_goal_scorer import FrameScorer, ScoringError


def frame(number: int) -> np.ndarray:
    return np.full((2, 2, 3), number, np.uint8)


def values(frames) -> np.ndarray:
    return np.array([[f[0, 0, 0], 2 * int(f[0, 0, 0])] for f in frames], np.float32)


@pytest.mark.parametrize("blocking", [False, True])
def test_every_frame_gets_its_own_score_in_batches_of_one_size(blocking):
    sizes = []

    def score(frames):
        sizes.append(len(frames))
        return values(frames)

    scorer = FrameScorer(score, size=4, blocking=blocking)
    tickets = [scorer.submit(frame(n)) for n in range(10)]
    found = [scorer.result(ticket).tolist() for ticket in reversed(tickets)]
    assert found == [[n, 2 * n] for n in reversed(range(10))]
    assert sizes == [4, 4, 4]  # the last one filled up
    assert scorer.frames == 10


def test_the_caller_goes_on_while_frames_are_scored():
    """Would never end if submit waited for scores: they come only once all frames are handed in."""
    everything = threading.Event()

    def score(frames):
        assert everything.wait(timeout=60)
        return values(frames)

    scorer = FrameScorer(score, size=2)
    tickets = [scorer.submit(frame(n)) for n in range(6)]
    assert not any(ticket.batch.scores.done() for ticket in tickets)
    everything.set()
    assert [scorer.result(ticket)[0] for ticket in tickets] == [0, 1, 2, 3, 4, 5]


def test_blocking_scores_in_the_callers_thread():
    threads = []

    def score(frames):
        threads.append(threading.current_thread())
        return values(frames)

    scorer = FrameScorer(score, size=2, blocking=True)
    first, second = scorer.submit(frame(1)), scorer.submit(frame(2))
    assert first.batch.scores.done() and second.batch.scores.done()
    assert threads == [threading.current_thread()]
    assert scorer.waiting_seconds > 0


def test_no_more_batches_wait_than_allowed():
    at_once, running, most = threading.Lock(), [0], [0]

    def score(frames):
        with at_once:
            most[0] = max(most[0], running[0])
            running[0] -= 1
        return values(frames)

    scorer = FrameScorer(score, size=1, most_batches=2)
    for n in range(50):
        with at_once:
            running[0] += 1
        scorer.submit(frame(n))
    assert most[0] <= 4  # two that wait, one that runs, one that is handed in


def test_a_failing_scorer_stops_whoever_asks_and_whoever_hands_in():
    handed_in = threading.Event()

    def score(frames):
        handed_in.wait(timeout=60)
        raise RuntimeError("out of memory")

    scorer = FrameScorer(score, size=1)
    ticket = scorer.submit(frame(0))
    handed_in.set()
    with pytest.raises(ScoringError, match="nothing was learned from them: out of memory"):
        scorer.result(ticket)
    with pytest.raises(ScoringError, match="out of memory"):
        scorer.submit(frame(1))


def test_a_scorer_that_hangs_is_named():
    release = threading.Event()

    def score(frames):
        release.wait(timeout=60)
        return values(frames)

    scorer = FrameScorer(score, size=1, patience=0.05)
    ticket = scorer.submit(frame(0))
    with pytest.raises(ScoringError, match=r"not answered for 0\.05 s"):
        scorer.result(ticket)
    release.set()


def test_the_wrong_number_of_scores_is_an_error():
    scorer = FrameScorer(lambda frames: values(frames)[:-1], size=2, blocking=True)
    scorer.submit(frame(0))
    with pytest.raises(ScoringError, match="gave 1 rows for 2 frames"):
        scorer.submit(frame(1))


def test_a_closed_scorer_says_so():
    release = threading.Event()

    def score(frames):
        release.wait(timeout=60)
        return values(frames)

    scorer = FrameScorer(score, size=1)
    tickets = [scorer.submit(frame(n)) for n in range(3)]
    scorer.close()
    release.set()
    with pytest.raises(ScoringError, match="was closed before"):
        scorer.result(tickets[-1])
