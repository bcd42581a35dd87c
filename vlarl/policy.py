"""What the loop needs of a policy: act, evaluate, save, load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol, Self

from torch import Tensor, nn

from vlarl.env_protocol import EnvConfig, Float32Array, Observation
from vlarl.types import PolicyOutput

PUBLISHED_TYPES = {"openvla": "openvla_oft"}
"""``model_type`` of published checkpoints -> our module."""

DecodingMode = Literal["sample", "greedy", "expectation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How action tokens become actions; part of every reported protocol."""

    mode: DecodingMode = "sample"
    """``sample``: inverse-CDF sampling from the episode's own noise; ``greedy``: argmax; ``expectation``: the
    probability-weighted mean of the bin centres (gripper: the more probable sign)."""
    temperature: float = 1.0


class Policy(Protocol):
    """A policy is a torch module with these four methods (and ``parameters()``, ``state_dict()``, ...).

    ``evaluate`` runs the same code that made ``act``'s log-probabilities: before the first update every
    ratio is 1.
    """

    def act(
        self, observations: Sequence[Observation], noise: Sequence[Float32Array], decoding: Decoding
    ) -> list[PolicyOutput]:
        """Decide for several episodes at once.

        Args:
            observations: one per episode.
            noise: one ``float32 [*noise_shape]`` per episode, uniform in (0, 1), drawn from the episode's own
                stream. The result for an episode depends on nothing else in the batch, bit for bit on the CPU.
            decoding: mode and temperature.
        """
        ...

    def evaluate(self, inputs: dict[str, Tensor], tokens: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies ``float32 [N, chunk, token]`` of ``tokens [N, chunk, token]``.

        ``temperature`` is one number, or ``float32 [N, 1, 1, 1]``. ``inputs`` holds
        ``PolicyOutput.inputs`` stacked to ``[N, ...]``.
        """
        ...

    def save_pretrained(self, folder: str | Path, card: dict[str, Any] | None = None) -> None:
        """Write ``config.json``, ``model.safetensors``, tokenizer files and the model card."""
        ...

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load; nothing on disk changes. Errors name the file, the field and what was expected."""
        ...

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the uniform noise one decision uses, for example ``(chunk, token)``."""
        ...


class TorchPolicy(Policy, Protocol):
    """A ``Policy`` that is also an ``nn.Module`` (used for typing only)."""

    version: int
    """Optimiser updates so far; copied into every ``PolicyOutput``."""

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What reinforcement learning updates; frozen parts are left out."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """All parameters with their dotted names, as ``nn.Module`` has it."""
        ...


def load_policy(source: str | Path, *, seed: int = 0, env: EnvConfig | None = None) -> TorchPolicy:
    """Load a checkpoint folder, or build a fresh policy from ``"package.module:Class"``.

    A class with ``for_env`` builds a fresh policy by ``for_env(env, seed=seed)``: its sizes follow the environment's.

    The class is the one that the folder's ``config.json`` names: ``policy_class`` ("package.module:Class") or
    ``model_type`` (a module in ``vlarl/policies``, or a published type).

    Raises:
        CheckpointError: no such folder, no ``config.json``, or no class named in it.
        NameNotFoundError: a class that does not exist.
    """
    from vlarl.errors import CheckpointError
    from vlarl.files import read_json
    from vlarl.resolve import resolve

    text = str(source)
    if ":" in text and not Path(text).exists():
        found = resolve(text, "policies")
        return found.for_env(env, seed=seed) if env is not None and hasattr(found, "for_env") else found(seed=seed)
    config_file = Path(source) / "config.json"
    if not config_file.is_file():
        raise CheckpointError(f"{config_file} does not exist; expected a checkpoint folder that holds one")
    config = read_json(config_file)
    name = config.get("policy_class") or PUBLISHED_TYPES.get(str(config.get("model_type")), config.get("model_type"))
    if not name:
        raise CheckpointError(
            f"{config_file}: neither field 'policy_class' nor 'model_type' is there; expected "
            "'policy_class': \"package.module:Class\", or 'model_type' with the name of a module in vlarl/policies"
        )
    found = resolve(str(name), "policies")
    if isinstance(found, ModuleType):  # a bare module name: its class has the same name in another spelling
        wanted = str(name).replace("_", "")
        found = next(value for key, value in vars(found).items() if key.lower() == wanted)
    return found.from_pretrained(source)
