"""OpenVLA-OFT with discrete action tokens; its size is configuration.

Fused DINOv2 + SigLIP patches -> projector -> Llama with bidirectional attention over
``[BOS][patches of each camera][proprio][prompt][56 zeroed placeholders][stop]`` -> logits of the 256 action tokens,
one position to the left of each placeholder -> bins -> un-normalised actions. One forward pass gives a chunk.

Source: "Fine-Tuning Vision-Language-Action Models: Optimizing Speed and Success" (arXiv 2502.19645) and the
upstream repository's ``modeling_prismatic.py``; the sampled policy is SimpleVLA-RL's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from vlarl.env_protocol import Float32Array, Observation
from vlarl.nn.bidirectional_llama import BidirectionalLlama
from vlarl.nn.fused_vision import FusedVision
from vlarl.nn.projectors import FusedProjector, ProprioProjector
from vlarl.policies.action_tokens import (
    ActionTokens,
    expected_values,
    log_probs_and_entropy,
    log_probs_of,
    sample_tokens,
)
from vlarl.policies.checkpoint_files import load_policy_files, save_policy_files
from vlarl.policies.image_chain import prepare_image
from vlarl.policies.normalisation import Normaliser, gripper_to_environment
from vlarl.policies.oft_config import OpenVlaOftConfig
from vlarl.policies.prompt_tokenizer import build_tokenizer
from vlarl.policy import Decoding
from vlarl.types import PolicyOutput


class OpenVlaOft(nn.Module):
    """The policy.

    Args:
        config: dimensions and constants.
        tokenizer: of the prompts; part of the checkpoint.

    Example::

        policy = OpenVlaOft.from_pretrained("assets/openvla_oft_compact_object")
        output = policy.act([observation], [noise], Decoding())[0]
        env.step_chunk(output.actions)
    """

    def __init__(self, config: OpenVlaOftConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.version = 0
        self.vision_backbone = FusedVision(config.vision)
        width = config.language.hidden_size
        self.projector = FusedProjector(config.vision.feature_size, config.projector_hidden_size, width)
        self.language_model = BidirectionalLlama(config.language)
        self.proprio_projector = ProprioProjector(config.proprio_size, width) if config.proprio_size else None
        self.bins = ActionTokens(config.num_bins)
        self.action_normaliser = Normaliser(config.action_statistics, config.epsilon)
        proprio = config.proprio_statistics
        self.proprio_normaliser = None if proprio is None else Normaliser(proprio, config.epsilon)
        self._prompts: dict[str, Tensor] = {}

    @classmethod
    def from_scratch(cls, config: OpenVlaOftConfig, seed: int) -> Self:
        """A compact policy with random weights and the tokenizer of its vocabulary size."""
        torch.manual_seed(seed)
        policy = cls(config, build_tokenizer(config.language.token_vocab_size, config.num_bins))
        policy.language_model.initialise_from_scratch()
        return policy.eval()

    # ---- the protocol -------------------------------------------------------------------------------------------

    @property
    def noise_shape(self) -> tuple[int, int]:
        """One uniform number per action token."""
        return self.config.chunk, self.config.action_dim

    @torch.no_grad()
    def act(
        self, observations: Sequence[Observation], noise: Sequence[Float32Array], decoding: Decoding
    ) -> list[PolicyOutput]:
        """See ``vlarl.policy.Policy.act``; tokens number the bins in the order of their ids (see ``action_tokens``)."""
        if not observations:
            return []
        temperature = decoding.temperature
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; expected more than 0. For argmax use mode 'greedy'.")
        device = self.language_model.model.lm_head.weight.device
        rows = self.prepare(observations)
        inputs = {name: torch.stack([row[name] for row in rows]).to(device) for name in rows[0]}
        logits = self._logits(inputs)
        if not bool(torch.isfinite(logits).all()):
            raise FloatingPointError("the policy's logits are not finite: its weights or an observation hold NaN")
        if decoding.mode == "sample":
            uniform = torch.from_numpy(np.stack([np.asarray(n, dtype=np.float32) for n in noise])).to(device)
            tokens = sample_tokens(logits, uniform, temperature)
            normalised = self.bins.decode(tokens.cpu().numpy())
        elif decoding.mode == "greedy":
            tokens = logits.argmax(dim=-1)
            normalised = self.bins.decode(tokens.cpu().numpy())
        else:
            values = torch.from_numpy(self.bins.values).to(device)
            normalised = expected_values(logits, values, temperature).cpu().numpy()
            tokens = torch.from_numpy(self.bins.encode(normalised).astype(np.int64)).to(device)
        log_probs = log_probs_of(logits, tokens, temperature)
        actions = self.actions_of(normalised)
        tokens_out, log_probs_out = tokens.cpu().numpy().astype(np.int16), log_probs.cpu().numpy()
        return [
            PolicyOutput(
                actions=actions[i],
                tokens=tokens_out[i],
                log_probs=log_probs_out[i],
                inputs=row,
                temperature=temperature,
                version=self.version,
            )
            for i, row in enumerate(rows)
        ]

    def evaluate(
        self, inputs: Mapping[str, Tensor], tokens: Tensor, temperature: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Differentiable log-probabilities and entropies ``float32 [N, chunk, action_dim]``.

        Rows of padding (an empty prompt) are computed with a one-token prompt; their values mean nothing.
        """
        return log_probs_and_entropy(self._logits(inputs), tokens, temperature)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Projector, language model and proprio projector; the vision backbone is frozen after imitation."""
        modules = [self.projector, self.language_model, self.proprio_projector]
        return [p for module in modules if module is not None for p in module.parameters()]

    def save_pretrained(self, folder: str | Path, card: dict[str, Any] | None = None) -> None:
        """Write ``config.json``, ``model.safetensors``, ``tokenizer.json`` and ``README.md`` (the model card)."""
        save_policy_files(folder, self.config, self.state_dict(), self.tokenizer, card or {})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load a folder that ``save_pretrained`` wrote; nothing in it changes.

        Raises:
            CheckpointError: a file is missing or damaged, or holds another architecture.
        """
        config, weights, tokenizer = load_policy_files(folder)
        policy = cls(config, tokenizer)
        weights.load_into(policy)
        return policy.eval()

    # ---- the parts ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def prepare(self, observations: Sequence[Observation]) -> list[dict[str, Tensor]]:
        """What ``evaluate`` needs of each observation: cached vision features, prompt, normalised proprioception.

        Features are rounded to 16 bits here, before anything is computed from them, so that the stored ones
        reproduce the log-probabilities exactly.
        """
        images = np.stack([self._image(seen, camera) for seen in observations for camera in self.config.cameras])
        rows = []
        for seen, features in zip(observations, self._features(torch.from_numpy(images)), strict=True):
            ids = self.prompt_ids(seen.instruction)
            padded = torch.full((self.config.prompt.max_tokens,), self.config.prompt.pad_id, dtype=torch.int32)
            padded[: len(ids)] = ids
            mask = torch.arange(len(padded)) < len(ids)
            row = {"features": features.half().cpu(), "prompt_ids": padded, "prompt_mask": mask}
            if self.proprio_normaliser is not None:
                proprio = self.proprio_normaliser.normalise(seen.state)
                row["proprio"] = torch.from_numpy(proprio.astype(np.float32))
            rows.append(row)
        return rows

    def _features(self, images: Tensor) -> Tensor:
        """``uint8 [N * cameras, size, size, 3]`` to vision features ``[N, cameras * patches, F]``.

        A single image is computed twice over: the library takes another kernel for it, with other rounding.
        """
        images = images.to(self.vision_backbone.dino_scale.device)
        alone = len(images) == 1
        features = self.vision_backbone(torch.cat((images, images)) if alone else images)[: len(images)]
        return features.reshape(len(images) // len(self.config.cameras), -1, features.shape[-1])

    def prompt_ids(self, instruction: str) -> Tensor:
        """Token ids of the prompt, BOS first, ``int32 [L]``; kept per instruction."""
        if instruction not in self._prompts:
            prompt = self.config.prompt
            ids = self.tokenizer.encode(prompt.template.format(instruction=instruction.lower())).ids
            suffix = list(prompt.suffix_ids)
            if suffix and ids[-len(suffix) :] != suffix:
                ids += suffix
            if len(ids) > prompt.max_tokens:
                raise ValueError(
                    f"the prompt has {len(ids)} tokens; this policy takes {prompt.max_tokens} "
                    f"(field prompt.max_tokens): {instruction!r}"
                )
            self._prompts[instruction] = torch.tensor(ids, dtype=torch.int32)
        return self._prompts[instruction]

    def actions_of(self, normalised: np.ndarray) -> Float32Array:
        """Normalised actions ``[..., action_dim]`` to environment units ``float32``."""
        actions = self.action_normaliser.unnormalise(normalised)
        return gripper_to_environment(actions, self.config.gripper).astype(np.float32)

    def chunk_logits(
        self, features: Tensor, prompt_ids: Tensor, lengths: Tensor | None, proprio: Tensor | None
    ) -> Tensor:
        """Logits of the action tokens, ``float32 [N, chunk, action_dim, bins]``.

        Args:
            features: vision features ``[N, cameras * patches, F]``, any float type.
            prompt_ids: ``int64 [N, L]`` with BOS first.
            lengths: real prompt tokens per row, ``int64 [N]``; None: all of ``prompt_ids`` is real, in every row.
            proprio: normalised ``float32 [N, S]``.
        """
        config, llama = self.config, self.language_model
        parts = [self.projector(features.to(self.projector.fc1.weight.dtype))]
        if self.proprio_projector is not None and proprio is not None:
            parts.append(self.proprio_projector(proprio.to(parts[0].dtype))[:, None])
        prefix = torch.cat(parts, dim=1)
        embedded, ends = self._text_embeddings(prompt_ids, lengths)
        sequence = torch.cat((embedded[:, :1], prefix, embedded[:, 1:]), dim=1)
        # Left shift: the last prompt token predicts the first action token.
        first = prefix.shape[1] + ends - 1
        count = config.num_action_tokens
        if lengths is None:
            begin = int(first[0])
            hidden = llama(sequence, slice(begin, begin + count))
        else:
            positions = first[:, None] + torch.arange(count, device=first.device)
            hidden = llama(sequence, positions, prefix.shape[1] + ends + count + 1)
        logits = llama.logits(hidden, config.action_token_begin, config.action_token_begin + config.num_bins)
        return logits.view(-1, config.chunk, config.action_dim, config.num_bins)

    def _text_embeddings(self, prompt_ids: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Embeddings of ``[prompt][placeholders, zero][stop][padding]`` and the prompt lengths ``int64 [N]``."""
        rows, longest = prompt_ids.shape
        count = self.config.num_action_tokens
        ends = torch.full((rows,), longest, device=prompt_ids.device) if lengths is None else lengths
        stop = torch.full((rows, 1), self.config.prompt.stop_id, device=prompt_ids.device)
        if lengths is None:
            prompt, last = self.language_model.embed(prompt_ids), self.language_model.embed(stop)
            zeros = prompt.new_zeros(rows, count, prompt.shape[-1])
            return torch.cat((prompt, zeros, last), dim=1), ends
        place = torch.arange(longest + count + 1, device=prompt_ids.device)[None]
        ids = torch.cat((prompt_ids, prompt_ids.new_full((rows, count + 1), self.config.prompt.pad_id)), dim=1)
        ids = torch.where(place == ends[:, None] + count, stop, ids)
        is_placeholder = (place >= ends[:, None]) & (place < ends[:, None] + count)
        ids = torch.where(is_placeholder, stop, ids)
        return self.language_model.embed(ids) * ~is_placeholder[..., None], ends

    def _logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits of stacked ``PolicyOutput.inputs``.

        On the CPU, rows are grouped by prompt length, so no padding is ever computed: quicker, and the bits of a
        row do not depend on its neighbours. Elsewhere one padded batch with a mask.
        """
        lengths = inputs["prompt_mask"].sum(dim=1).clamp(min=1)
        ids, features, proprio = inputs["prompt_ids"].long(), inputs["features"], inputs.get("proprio")
        if features.device.type != "cpu":
            longest = int(lengths.max())
            return self.chunk_logits(features, ids[:, :longest], lengths, proprio)
        distinct = lengths.unique().tolist()
        if len(distinct) == 1:
            return self.chunk_logits(features, ids[:, : distinct[0]], None, proprio)
        parts, order = [], []
        for length in distinct:
            rows = (lengths == length).nonzero()[:, 0]
            some = None if proprio is None else proprio[rows]
            parts.append(self.chunk_logits(features[rows], ids[rows, :length], None, some))
            order.append(rows)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def _image(self, observation: Observation, camera: str) -> np.ndarray:
        """One prepared camera image."""
        if camera not in observation.images:
            raise ValueError(
                f"the observation has no camera {camera!r} (it has {sorted(observation.images)}); this policy sees "
                f"{list(self.config.cameras)} (field cameras)"
            )
        return prepare_image(observation.images[camera], self.config.image, self.config.vision.image_size)
