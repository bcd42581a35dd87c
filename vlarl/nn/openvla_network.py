"""The network of OpenVLA and OpenVLA-OFT: from image features, prompt and proprioception to hidden states and logits.

Parallel decoding reads ``[BOS][patches of each camera][proprio][prompt][zeroed placeholders][stop]`` in one pass with
full attention; decoding in turn reads ``[BOS][patches][prompt][action tokens so far]`` causally. What a policy needs
besides (images, prompts, sampling, files) is in ``vlarl.policies.openvla_oft``.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from vlarl.nn.action_llama import ActionLlama, AttentionKind
from vlarl.nn.adapters import adapters, add_adapters, set_ranks
from vlarl.nn.fused_vision import FusedVision
from vlarl.nn.heads import L1ActionHead, ValueHead
from vlarl.nn.projectors import ProprioProjector, VisionProjector
from vlarl.policies.oft_config import OpenVlaOftConfig


class OpenVlaNetwork(nn.Module):
    """The parts and how they are put together.

    Args:
        config: dimensions and constants.
        attention: implementation of the language model's attention.
    """

    def __init__(self, config: OpenVlaOftConfig, *, attention: AttentionKind = "sdpa") -> None:
        super().__init__()
        self.config = config
        self.precision = torch.float32
        self.vision_backbone = FusedVision(config.vision)
        width, autoregressive = config.language.hidden_size, config.decoding == "autoregressive"
        self.projector = VisionProjector(config.vision.feature_size, config.projector_hidden_size, width)
        self.language_model = ActionLlama(config.language, causal=autoregressive, attention=attention)
        self.proprio_projector = ProprioProjector(config.proprio_size, width) if config.proprio_size else None
        self.action_head = L1ActionHead(width, config.action_dim) if config.head == "l1" else None
        self.value_head = ValueHead(width) if config.value_head else None
        if config.adapter is not None:
            for module in (self.projector, self.language_model.model.model.layers):
                add_adapters(module, config.adapter.rank, config.adapter.alpha)
            set_ranks(self, config.adapter.ranks)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.language_model.model.lm_head.weight.device

    def computing(self) -> torch.autocast:
        """Matrix products in ``precision``, whatever the weights are kept in."""
        reduced = self.precision != torch.float32
        dtype = self.precision if reduced else None
        return torch.autocast(self.device.type, dtype=dtype, enabled=reduced, cache_enabled=False)

    def present_config(self) -> OpenVlaOftConfig:
        """The configuration with the ranks that the adapters have now, for ``config.json``."""
        adapter = self.config.adapter
        if adapter is None:
            return self.config
        ranks = {name: layer.rank for name, layer in adapters(self) if layer.rank != adapter.rank}
        return dataclasses.replace(self.config, adapter=dataclasses.replace(adapter, ranks=ranks))

    def is_trained(self, name: str) -> bool:
        """Whether reinforcement learning updates this parameter: the adapters and the critic, or all but vision."""
        if self.action_head is not None:
            return False
        if self.config.adapter is not None:
            return ".lora_" in name or name.startswith("value_head.")
        return not name.startswith("vision_backbone.")

    def chunk_logits(
        self, features: Tensor, prompt_ids: Tensor, lengths: Tensor | None, proprio: Tensor | None
    ) -> Tensor:
        """Logits of the action tokens with parallel decoding, ``float32 [N, chunk, action_dim, bins]``.

        Arguments as for ``chunk_hidden``.
        """
        hidden = self.chunk_hidden(features, prompt_ids, lengths, proprio)
        return self.action_logits(hidden)

    def chunk_hidden(
        self, features: Tensor, prompt_ids: Tensor, lengths: Tensor | None, proprio: Tensor | None
    ) -> Tensor:
        """Final hidden states that predict the action tokens with parallel decoding, ``[N, chunk * action_dim, D]``.

        Args:
            features: vision features ``[N, cameras * patches, F]``, any float type.
            prompt_ids: ``int64 [N, L]`` with BOS first.
            lengths: real prompt tokens per row, ``int64 [N]``; None: all of ``prompt_ids`` is real, in every row.
            proprio: normalised ``float32 [N, S]``.
        """
        count = self.config.num_action_tokens
        sequence, first, lengths = self.chunk_sequence(features, prompt_ids, lengths, proprio)
        if lengths is None:
            begin = int(first[0])
            return self.language_model(sequence, slice(begin, begin + count))
        positions = first[:, None] + torch.arange(count, device=first.device)
        return self.language_model(sequence, positions, lengths)

    def chunk_sequence(
        self, features: Tensor, prompt_ids: Tensor, lengths: Tensor | None, proprio: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the language model reads with parallel decoding; arguments as for ``chunk_hidden``.

        Returns:
            Embeddings ``[N, S, D]``, the position that predicts the first action token ``int64 [N]`` (the last prompt
            token: outputs are shifted to the left by one), and the real length of each row (None: all of it is real).
        """
        prefix = self._prefix(features, proprio)
        embedded, ends = self._text_embeddings(prompt_ids, lengths)
        sequence = torch.cat((embedded[:, :1], prefix, embedded[:, 1:]), dim=1)
        real = None if lengths is None else prefix.shape[1] + ends + self.config.num_action_tokens + 1
        return sequence, prefix.shape[1] + ends - 1, real

    def forced_hidden(self, features: Tensor, prompt_ids: Tensor, proprio: Tensor | None, tokens: Tensor) -> Tensor:
        """Final hidden states that predict each action token from the true ones before it, ``[N, action_dim, D]``.

        Args:
            features: as for ``chunk_hidden``.
            prompt_ids: ``int64 [N, L]``, all of it real.
            proprio: as for ``chunk_hidden``.
            tokens: action tokens ``int64 [N, 1, action_dim]``.
        """
        ids = tokens[:, 0, :-1] + self.config.action_token_begin
        sequence = torch.cat((self.prompt_sequence(features, prompt_ids, proprio), self.language_model.embed(ids)), 1)
        end = sequence.shape[1]
        return self.language_model(sequence, slice(end - self.config.action_dim, end))

    def action_logits(self, hidden: Tensor) -> Tensor:
        """``[N, chunk * action_dim, D]`` to ``float32 [N, chunk, action_dim, bins]``."""
        config, begin = self.config, self.config.action_token_begin
        logits = self.language_model.logits(hidden, begin, begin + config.num_bins)
        return logits.view(-1, config.chunk, config.action_dim, config.num_bins)

    def _prefix(self, features: Tensor, proprio: Tensor | None) -> Tensor:
        """What stands between BOS and the prompt, ``[N, P, D]``."""
        parts = [self.projector(features.to(self.projector.fc1.weight.dtype))]
        if self.proprio_projector is not None and proprio is not None:
            parts.append(self.proprio_projector(proprio.to(parts[0].dtype))[:, None])
        return torch.cat(parts, dim=1)

    def prompt_sequence(self, features: Tensor, prompt_ids: Tensor, proprio: Tensor | None) -> Tensor:
        """``[BOS][patches][proprio][prompt]``, embedded, ``[N, S, D]``; what decoding in turn begins with."""
        embedded = self.language_model.embed(prompt_ids)
        return torch.cat((embedded[:, :1], self._prefix(features, proprio), embedded[:, 1:]), dim=1)

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

    def action_hidden(
        self, features: Tensor, ids: Tensor, lengths: Tensor | None, proprio: Tensor | None, tokens: Tensor | None
    ) -> Tensor:
        """``chunk_hidden`` or ``forced_hidden``, whichever this policy decodes with."""
        if self.config.decoding == "parallel":
            return self.chunk_hidden(features, ids, lengths, proprio)
        assert tokens is not None
        return self.forced_hidden(features, ids, proprio, tokens)

    def first_hidden(
        self, features: Tensor, ids: Tensor, lengths: Tensor | None, proprio: Tensor | None, tokens: Tensor | None
    ) -> Tensor:
        """The critic reads what predicts the first action token; causally, no action token is needed."""
        if self.config.decoding == "parallel":
            return self.chunk_hidden(features, ids, lengths, proprio)[:, 0]
        sequence = self.prompt_sequence(features, ids, proprio)
        return self.language_model(sequence, slice(sequence.shape[1] - 1, sequence.shape[1]))[:, 0]
