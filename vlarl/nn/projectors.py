"""The two small networks that bring vision features and proprioception to the width of the language model."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_COPIES = 8


class VisionProjector(nn.Module):
    """From vision features to the language model.

    Two towers ("no-align+fused-gelu-mlp"): fc1, GELU, fc2, GELU, fc3. One tower ("no-align+gelu-mlp"): fc1, GELU, fc2.

    Args:
        vision_size: width of the features.
        hidden_size: width between the first and the second layer of the first kind; 0 for the second kind.
        language_size: width of the language model.
    """

    def __init__(self, vision_size: int, hidden_size: int, language_size: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(vision_size, hidden_size or language_size)
        self.fc2 = nn.Linear(hidden_size or language_size, language_size)
        self.fc3 = nn.Linear(language_size, language_size) if hidden_size else None

    def forward(self, features: Tensor) -> Tensor:
        """``[..., vision_size]`` to ``[..., language_size]``."""
        hidden = self.fc2(functional.gelu(self.fc1(features)))
        return hidden if self.fc3 is None else self.fc3(functional.gelu(hidden))


class ProprioProjector(nn.Module):
    """fc1, GELU, fc2: OpenVLA-OFT's ``ProprioProjector``."""

    def __init__(self, proprio_size: int, language_size: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(proprio_size, language_size)
        self.fc2 = nn.Linear(language_size, language_size)

    def forward(self, proprio: Tensor) -> Tensor:
        """``[N, proprio_size]`` to ``[N, language_size]``.

        On the CPU every row is computed eight times over and one copy kept: for fewer than five rows the library
        takes another matrix-product kernel with other rounding, and a row's bits would depend on the batch.
        """
        if proprio.device.type == "cpu":
            copies = proprio[:, None].expand(-1, _COPIES, -1)
            return self.fc2(functional.gelu(self.fc1(copies)))[:, 0]
        return self.fc2(functional.gelu(self.fc1(proprio)))
