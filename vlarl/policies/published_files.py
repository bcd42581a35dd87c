"""A published OpenVLA or OpenVLA-OFT folder as it comes from the hub: which files it has and what they mean together.

What such a folder does not say is settled here, in this order: what the caller asks for (``LoadConfig``), what the
files imply, what upstream's evaluation scripts use.

* Decoding: an ``action_head--*`` or ``proprio_projector--*`` file, or remote code that speaks of action chunks, is
  OpenVLA-OFT (parallel); one vision tower, or remote code that does not, is OpenVLA (autoregressive). Where there is
  no remote code, fine-tuning statistics in ``dataset_statistics.json`` mean OpenVLA-OFT. The code is read as text.
* Cameras: with proprioception the third-person and the wrist camera, else the third-person camera alone.
* Proprioception: where there is a projector for it, as a file of its own or among the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer
from torch import Tensor

from vlarl.errors import CheckpointError
from vlarl.files import read_json
from vlarl.policies.adapter_files import base_folder, is_adapter_folder, read_adapter
from vlarl.policies.oft_config import OpenVlaOftConfig, VisionConfig
from vlarl.policies.prompt_tokenizer import TOKENIZER_FILE, load_tokenizer
from vlarl.policies.published_config import EXTRA_KEY, PublishedConfig
from vlarl.policies.published_layout import PublishedNames, head_to_ours
from vlarl.policies.tensor_files import TensorFiles, find_tensor_files, open_tensors, read_component
from vlarl.policies.weights import NamedTensor
from vlarl.policy import LoadConfig

STATISTICS_FILE = "dataset_statistics.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
REMOTE_CODE = "modeling_prismatic.py"
BOS = 1
UNSUPPORTED = {
    "noisy_action_projector": "a diffusion head",
    "vision_backbone": "FiLM conditioning of the vision backbone",
}
"""Component files of OpenVLA-OFT variants that are not implemented, and what they mean."""


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """What a folder holds, checked as far as that goes without reading the weights."""

    folder: Path
    config: OpenVlaOftConfig
    tokenizer: Tokenizer
    tensors: Iterable[NamedTensor]
    stored_name: Callable[[str], str]
    """Our name of a tensor as the files spell it."""


def read_published(folder: Path, load: LoadConfig) -> PolicyFiles:
    """Read a published folder, or a LoRA adapter folder and the published folder it belongs to.

    Raises:
        CheckpointError: what is missing or wrong, in which file, what was expected, and the flag that fixes it.
    """
    extra: list[Path] = []
    weights_folder = folder
    if is_adapter_folder(folder):
        weights_folder = base_folder(folder, load.base)
        extra = [folder, folder.parent] if folder.name == "lora_adapter" else [folder]
    return _Reader(weights_folder, [*extra, weights_folder], folder if extra else None, load).files()


class _Reader:
    """One reading of one folder."""

    def __init__(self, folder: Path, places: list[Path], adapter: Path | None, load: LoadConfig) -> None:
        self.folder, self.places, self.adapter, self.load = folder, places, adapter, load
        self.shards = find_tensor_files(folder, shown=_missing_weights_hint(folder))
        for kind, meaning in UNSUPPORTED.items():
            found = [path.name for place in places for path in place.glob(f"{kind}--*")]
            if found:
                raise CheckpointError(
                    f"{folder}: {found[0]} is there, so this checkpoint has {meaning}, which is not implemented. Take "
                    "a checkpoint with discrete action tokens or with an L1 head."
                )
        self.published = self._parse()

    def files(self) -> PolicyFiles:
        """Everything together."""
        head, proprio = self._component("action_head"), self._component("proprio_projector")
        config = self._config(head is not None, proprio is not None)
        names = PublishedNames(config.vision)
        tokenizer = load_tokenizer(self.folder)
        _check_tokenizer(self.folder / TOKENIZER_FILE, tokenizer, config)
        tensors: Iterable[NamedTensor] = self._tensors(names, config.vision, head or {}, proprio or {})
        if self.adapter is not None:
            tensors = read_adapter(self.adapter, names).merge(tensors)
        return PolicyFiles(self.adapter or self.folder, config, tokenizer, tensors, names.name)

    def _parse(self) -> PublishedConfig:
        config = _json_object(self.folder / "config.json")
        preprocessor = _json_object(self.folder / PREPROCESSOR_FILE)
        own: dict[str, Any] = {}
        for place in reversed(self.places):
            if (place / STATISTICS_FILE).is_file():
                own = _json_object(place / STATISTICS_FILE)
        statistics = {**(config.get("norm_stats") or {}), **own}
        return PublishedConfig(self.folder, config, preprocessor, statistics, tuple(own))

    def _config(self, has_head: bool, has_projector: bool) -> OpenVlaOftConfig:
        extra = self.published.config.get(EXTRA_KEY)
        if extra is not None:
            return OpenVlaOftConfig.from_json(extra, self.folder / "config.json")
        use_proprio = has_projector or self._holds("proprio_projector.")
        key, statistics = self.published.choose_statistics(self.load.unnorm_key)
        head: Literal["tokens", "l1"] = "l1" if has_head else "tokens"
        default = ("agentview", "wrist") if use_proprio else ("agentview",)
        try:
            return self.published.policy(
                key,
                statistics,
                cameras=self.load.cameras or default,
                use_proprio=use_proprio,
                decoding=self._decoding(has_head or has_projector),
                head=head,
            )
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{self.folder / 'config.json'}: {error}") from error

    def _decoding(self, has_component: bool) -> Literal["parallel", "autoregressive"]:
        if self.load.decoding != "auto":
            return self.load.decoding
        if has_component:
            return "parallel"
        if not self.published.fused:
            return "autoregressive"
        code = self.folder / REMOTE_CODE
        if code.is_file():
            text = code.read_text(encoding="utf-8", errors="replace")
            return "parallel" if "NUM_ACTIONS_CHUNK" in text else "autoregressive"
        return "parallel" if self.published.own_statistics else "autoregressive"

    def _component(self, kind: str) -> dict[str, Tensor] | None:
        for place in self.places:
            found = read_component(place, kind, allow_pickle=self.load.allow_pickle)
            if found is not None:
                return found
        return None

    def _holds(self, prefix: str) -> bool:
        """Whether any stored tensor's name begins so."""
        for path, promised in self.shards.files.items():
            if promised is not None:
                if any(name.startswith(prefix) for name in promised):
                    return True
                continue
            with open_tensors(path) as stream:
                if any(name.startswith(prefix) for name in stream.keys()):  # noqa: SIM118 - no mapping
                    return True
        return False

    def _tensors(
        self, names: PublishedNames, vision: VisionConfig, head: dict[str, Tensor], proprio: dict[str, Tensor]
    ) -> Iterator[NamedTensor]:
        yield from translated(self.shards, names)
        absent = names.absent(vision)
        yield from (NamedTensor(self.folder, name, name, value) for name, value in absent.items())
        for name, value in proprio.items():
            yield NamedTensor(self.folder / "proprio_projector--*", name, f"proprio_projector.{name}", value)
        try:
            ours = head_to_ours(head.items())
        except KeyError as error:
            raise CheckpointError(
                f"{self.folder}: action_head--* holds tensor {error}, which an L1 regression head does not have; a "
                "diffusion head is not implemented"
            ) from error
        yield from (NamedTensor(self.folder / "action_head--*", name, name, value) for name, value in ours.items())


def translated(files: TensorFiles, names: PublishedNames) -> Iterator[NamedTensor]:
    """The tensors of published files under our names.

    Raises:
        CheckpointError: a tensor that no OpenVLA network has, or that cannot be cut as its name says.
    """
    for path, stored, value in files:
        try:
            ours = names.to_ours(stored, value)
        except KeyError as error:
            raise CheckpointError(
                f"{path}: tensor {stored!r} is not part of the OpenVLA network that config.json describes"
            ) from error
        yield from (NamedTensor(path, stored, name, part) for name, part in ours.items())


def _json_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in path.parent.iterdir()))
        raise CheckpointError(f"{path.parent}: {path.name} is missing (the folder holds {there or 'nothing'})")
    content = read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; expected an object")
    return content


def _check_tokenizer(path: Path, tokenizer: Tokenizer, config: OpenVlaOftConfig) -> None:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    size, room = tokenizer.get_vocab_size(), config.language.vocab_size
    if size > room:
        raise CheckpointError(
            f"{path}: {size} pieces; config.json has room for text_config.vocab_size = {room}. The tokenizer belongs "
            "to another checkpoint."
        )
    ids = tokenizer.encode("pick").ids
    if not ids or ids[0] != BOS:
        raise CheckpointError(
            f"{path}: a prompt begins with id {ids[0] if ids else 'nothing'}; expected {BOS} (<s>), which the policy's "
            "sequence begins with. Take tokenizer.json from the published checkpoint."
        )


def _missing_weights_hint(folder: Path) -> str:
    adapter = folder / "lora_adapter"
    if not adapter.is_dir():
        return ""
    return f"model.safetensors (a LoRA adapter lies in {adapter}: load that folder, with --load.base BASE_FOLDER)"
