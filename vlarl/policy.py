"""What the loop needs of a policy: act, evaluate, save, load."""

from __future__ import annotations

import inspect
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


@dataclass(frozen=True, kw_only=True)
class LoadConfig:
    """How a checkpoint becomes a policy: what its folder does not say itself, and how it computes."""

    unnorm_key: str = ""
    """Which dataset's statistics scale actions, where a published folder holds several."""
    cameras: tuple[str, ...] = ()
    """Cameras in the order the checkpoint was trained with; none: agentview, and wrist with proprioception."""
    decoding: Literal["auto", "parallel", "autoregressive"] = "auto"
    """OpenVLA-OFT decodes a chunk in parallel, OpenVLA token by token; auto: what the folder's files imply."""
    base: str = ""
    """Folder of the base model, where the policy is a LoRA adapter folder."""
    allow_pickle: bool = False
    """Read .pt components (action head, proprio projector) of published folders: tensors alone, nothing is run."""
    attention: Literal["sdpa", "eager", "flash"] = "sdpa"
    """Implementation of attention."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What is computed in; weights that are trained are kept in float32 either way."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto: the GPU, where there is one and the policy has more than 100 M parameters."""
    adapter_rank: int = 0
    """Train low-rank adapters (LoRA) of this rank beside the frozen weights; 0: train the weights themselves."""
    recompute: bool = False
    """Gradient checkpointing: keep each layer's input alone and compute the layer again in the backward pass."""
    value_head: bool = False
    """Add a critic to the policy (for objectives that learn a value)."""


DEFAULT_LOAD = LoadConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How action tokens become actions; part of every reported protocol."""

    mode: DecodingMode = "sample"
    """``sample``: inverse-CDF sampling from the episode's own noise; ``greedy``: argmax; ``expectation``: the
    probability-weighted mean of the bin centres (gripper: the more probable sign)."""
    temperature: float = 1.0

    @property
    def label(self) -> str:
        """Short and fit for a file name: ``greedy``, ``sample_T0.6``."""
        return self.mode if self.mode == "greedy" else f"{self.mode}_T{self.temperature:g}"


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


def fitted(env: EnvConfig, policy: Policy) -> EnvConfig:
    """``env`` with the observations that ``policy`` was trained on, where it names them (``fit_env``)."""
    fit = getattr(policy, "fit_env", None)
    return env if fit is None else fit(env)


def load_policy(
    source: str | Path, *, seed: int = 0, env: EnvConfig | None = None, load: LoadConfig = DEFAULT_LOAD
) -> TorchPolicy:
    """Load a checkpoint folder, or build a fresh policy from ``"package.module:Class"``.

    A class with ``for_env`` builds a fresh policy by ``for_env(env, seed=seed)``: its sizes follow the environment's.

    The class is the one that the folder's ``config.json`` names: ``policy_class`` ("package.module:Class") or
    ``model_type`` (a module in ``vlarl/policies``, or a published type). Since that imports code, only our own
    packages, installed plug-ins and files that were named on the command line are followed.

    Raises:
        CheckpointError: no such folder, no ``config.json``, no class named in it, or one that may not be imported.
        NameNotFoundError: a class that does not exist.
    """
    from vlarl.errors import CheckpointError
    from vlarl.files import read_json
    from vlarl.resolve import resolve

    text = str(source)
    if ":" in text and not Path(text).exists():
        if load != DEFAULT_LOAD:
            raise CheckpointError(f"{text} is built afresh; the --load flags are for checkpoint folders")
        found = resolve(text, "policies")
        return found.for_env(env, seed=seed) if env is not None and hasattr(found, "for_env") else found(seed=seed)
    config_file = Path(source) / "config.json"
    if config_file.is_file():
        name = _class_named_in(read_json(config_file), config_file)
    elif (Path(source) / "adapter_config.json").is_file():
        name = PUBLISHED_TYPES["openvla"]
    else:
        raise CheckpointError(f"{config_file} does not exist; expected a checkpoint folder that holds one")
    found = resolve(name, "policies")
    if isinstance(found, ModuleType):  # a bare module name: its class has the same name in another spelling
        wanted = name.replace("_", "")
        found = next(value for key, value in vars(found).items() if key.lower() == wanted)
    if not hasattr(found, "from_pretrained"):
        raise CheckpointError(f"{config_file}: {name!r} is no policy: it has no from_pretrained")
    if "load" in inspect.signature(found.from_pretrained).parameters:
        return found.from_pretrained(source, load=load, seed=seed)
    if load != DEFAULT_LOAD:
        raise CheckpointError(f"{source} holds a {found.__name__}, which takes no --load flags")
    return found.from_pretrained(source)


def _class_named_in(config: Any, file: Path) -> str:
    """What ``config.json`` names, if it may be imported."""
    from vlarl.errors import CheckpointError
    from vlarl.file_modules import loaded_files
    from vlarl.resolve import list_names, trusted_packages, unknown_name

    config = config if isinstance(config, dict) else {}
    named = config.get("policy_class")
    if not named:
        kind = str(config.get("model_type", ""))
        if not kind:
            raise CheckpointError(
                f"{file}: neither field 'policy_class' nor 'model_type' is there; expected "
                "'policy_class': \"package.module:Class\", or 'model_type' with the name of a module in vlarl/policies"
            )
        known = [item.name for item in list_names("policies")]
        if PUBLISHED_TYPES.get(kind, kind) not in known:
            raise CheckpointError(f"{file}: {unknown_name('model_type', kind, [*known, *PUBLISHED_TYPES])}")
        return PUBLISHED_TYPES.get(kind, kind)
    module, _, attribute = str(named).rpartition(":")
    if not attribute or not module:
        raise CheckpointError(f"{file}: field 'policy_class' is {named!r}; expected 'package.module:Class'")
    if module.endswith(".py") or "/" in module:
        if str(Path(module).expanduser().resolve()) not in loaded_files():
            raise CheckpointError(
                f"{file}: policy_class {named!r} lies in a file that was not named on the command line, so it is not "
                "run. Name your experiment's file: vlarl train path/to/experiment.py ..."
            )
    elif module.partition(".")[0] not in trusted_packages():
        raise CheckpointError(
            f"{file}: policy_class {named!r} lies in package {module.partition('.')[0]!r}, which is not one of "
            f"{', '.join(trusted_packages())}; a checkpoint may not choose other code to run. If the package is "
            "yours, declare an entry point of the group 'vlarl.policies' in it."
        )
    return str(named)
