"""What SAC's gradients by hand do with the outputs of its networks, compiled (numba).

Rows ``N`` are transitions. The policy's outputs are, per chunk step, the means and then the log deviations of ``size``
action dimensions; noise, actions and slopes are ``[N, chunk * size]``.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from vlarl.policies.distributions import LOG_STD_RANGE

LOW, HIGH = np.float32(LOG_STD_RANGE[0]), np.float32(LOG_STD_RANGE[1])
CONSTANT = np.float32(0.5 * math.log(2 * math.pi) + 2.0 * math.log(2.0))
ZERO, HALF, ONE, TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@compiled
def draw(outputs: Any, noise: Any, size: int, action: Any, log_prob: Any) -> float:
    """``action = tanh(mean + std noise)``, and its log-density ``[N]`` as ``SquashedGaussian`` gives it.

    Returns the mean log-density.
    """
    mean = 0.0
    for row in range(noise.shape[0]):
        total = ZERO
        for column in range(noise.shape[1]):
            place = column // size * 2 * size + column % size
            log_std = min(max(outputs[row, place + size], LOW), HIGH)
            token = outputs[row, place] + math.exp(log_std) * noise[row, column]
            action[row, column] = math.tanh(token)
            softplus = max(-TWO * token, ZERO) + math.log1p(math.exp(-abs(TWO * token)))
            total += TWO * (token + softplus) - HALF * noise[row, column] ** 2 - log_std - CONSTANT
        log_prob[row] = total
        mean += total / len(log_prob)
    return mean


@compiled
def squared_errors(values: Any, wanted: Any, gradient: Any) -> tuple[float, float]:
    """Half the mean squared error of ``values [N, 1]``, and their mean.

    The gradient of the first is written to ``gradient [N, 1]``.
    """
    total, mean, number = 0.0, 0.0, len(wanted)
    for row in range(number):
        error = values[row, 0] - wanted[row]
        gradient[row, 0] = error / np.float32(number)
        total += 0.5 * error * error
        mean += values[row, 0]
    return total / number, mean / number


@compiled
def choose_smaller(first: Any, second: Any, shares: Any) -> float:
    """The mean of the smaller of two columns ``[N, 1]``; ``shares [2, N, 1]`` says 1 for the one that it is."""
    total = 0.0
    for row in range(len(first)):
        chosen = first[row, 0] <= second[row, 0]
        shares[0, row, 0], shares[1, row, 0] = (ONE, ZERO) if chosen else (ZERO, ONE)
        total += first[row, 0] if chosen else second[row, 0]
    return total / len(first)


@compiled
def policy_slopes(
    outputs: Any, noise: Any, size: int, action: Any, first: Any, second: Any, alpha: float, gradient: Any
) -> None:
    """The gradient of the policy's outputs.

    With ``u = mean + std noise`` and ``a = tanh(u)``, per action dimension::

        dL_pi/du = (2 alpha a - (1 - a^2) dQ_min/da) / N,    as d log pi/du = 2 a
        dL_pi/dmean = dL_pi/du,    dL_pi/dlog_std = std noise dL_pi/du - alpha / N

    Args:
        outputs: of the policy's network.
        noise: that the actions were drawn with.
        size: action dimensions.
        action: ``a``.
        first: ``dQ_min/da``'s share of the first critic.
        second: that of the second one; the sum of both is taken.
        alpha: entropy weight.
        gradient: filled, as ``outputs``.
    """
    number, weight = np.float32(noise.shape[0]), np.float32(alpha)
    for row in range(noise.shape[0]):
        for column in range(noise.shape[1]):
            place = column // size * 2 * size + column % size
            raw, a = outputs[row, place + size], action[row, column]
            slope = first[row, column] + second[row, column]
            by_token = (TWO * weight * a - (ONE - a * a) * slope) / number
            gradient[row, place] = by_token
            inside = LOW <= raw <= HIGH
            by_log_std = math.exp(raw) * noise[row, column] * by_token - weight / number if inside else ZERO
            gradient[row, place + size] = by_log_std
