"""Heads on the hidden states of the action positions: continuous actions (OpenVLA-OFT's L1 head), and a value."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_BLOCKS = 2


class L1ActionHead(nn.Module):
    """OpenVLA-OFT's ``L1RegressionActionHead``: the ``action_dim`` hidden states of a control step to its action.

    LayerNorm, Linear, ReLU, two residual blocks (LayerNorm, Linear, ReLU), LayerNorm, Linear. Trained with the mean
    absolute error on normalised actions, so it gives no probabilities.
    """

    def __init__(self, hidden_size: int, action_dim: int) -> None:
        super().__init__()
        self.action_dim = action_dim
        self.layer_norm1 = nn.LayerNorm(hidden_size * action_dim)
        self.fc1 = nn.Linear(hidden_size * action_dim, hidden_size)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden_size), nn.Linear(hidden_size, hidden_size)) for _ in range(_BLOCKS)
        )
        self.layer_norm2 = nn.LayerNorm(hidden_size)
        self.fc2 = nn.Linear(hidden_size, action_dim)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[N, chunk * action_dim, D]`` to normalised actions ``[N, chunk, action_dim]``."""
        rows, tokens, width = hidden.shape
        states = hidden.reshape(rows, tokens // self.action_dim, self.action_dim * width)
        states = functional.relu(self.fc1(self.layer_norm1(states)))
        for block in self.blocks:
            states = functional.relu(block(states)) + states
        return self.fc2(self.layer_norm2(states))


class ValueHead(nn.Module):
    """A value from the hidden state that predicts the first action token: Linear, GELU, Linear, GELU, Linear.

    Widths 512 and 128 as in RL4VLA (``openvla_train.py``); a narrower language model's own width bounds them. The last
    layer starts at zero, so a new critic says 0 everywhere.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        wide, narrow = min(512, hidden_size), min(128, hidden_size)
        self.fc1 = nn.Linear(hidden_size, wide)
        self.fc2 = nn.Linear(wide, narrow)
        self.fc3 = nn.Linear(narrow, 1)
        nn.init.zeros_(self.fc3.weight)
        nn.init.zeros_(self.fc3.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[N, D]`` to ``float32 [N]``."""
        states = functional.gelu(self.fc2(functional.gelu(self.fc1(hidden))))
        return self.fc3(states)[:, 0].float()
