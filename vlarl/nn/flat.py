"""Parameters side by side in one tensor, so that an optimiser or a moving average handles one in place of many."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def flatten(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """One parameter of which all ``parameters`` become views, and whose ``grad`` all their ``grad`` are views of.

    Write gradients in place (``out=``, ``copy_``): a ``grad`` that is replaced is seen no more.
    """
    flat = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    flat.grad = torch.zeros_like(flat)
    start = 0
    for parameter in parameters:
        place = slice(start, start + parameter.numel())
        parameter.data = flat.data[place].view_as(parameter)
        parameter.grad = flat.grad[place].view_as(parameter)
        start = place.stop
    return flat
