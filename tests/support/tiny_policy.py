"""A token policy of a few thousand parameters over the toy environment's state."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vlarl.policy import Decoding
from vlarl.types import PolicyOutput

BINS, CHUNK, DIM = 9, 4, 2


class TinyPolicy(nn.Module):
    """State ``[4]`` -> logits ``[4, 2, 9]``."""

    def __init__(self, seed: int = 0, hidden: int = 32) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, CHUNK * DIM * BINS))
        self.version = 0

    noise_shape = (CHUNK, DIM)

    def logits(self, state):
        return self.net(state).view(-1, CHUNK, DIM, BINS)

    def trainable_parameters(self):
        return list(self.parameters())

    @torch.inference_mode()
    def act(self, observations, noise, decoding: Decoding):
        outputs = []
        for observation, uniform in zip(observations, noise, strict=True):
            state = torch.from_numpy(observation.state)
            log_probs = torch.log_softmax(self.logits(state[None])[0] / decoding.temperature, -1)
            if decoding.mode == "greedy":
                tokens = log_probs.argmax(-1)
            else:
                cumulative = log_probs.exp().cumsum(-1)
                tokens = (cumulative < torch.from_numpy(uniform)[..., None]).sum(-1).clamp(max=BINS - 1)
            chosen = log_probs.gather(-1, tokens[..., None])[..., 0]
            outputs.append(
                PolicyOutput(
                    actions=(tokens.numpy().astype(np.float32) / (BINS - 1)) * 2 - 1,
                    tokens=tokens.numpy().astype(np.int16),
                    log_probs=chosen.numpy(),
                    inputs={"state": state},
                    temperature=decoding.temperature,
                    version=self.version,
                )
            )
        return outputs

    def evaluate(self, inputs, tokens, temperature):
        log_probs = torch.log_softmax(self.logits(inputs["state"]) / temperature, -1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, tokens[..., None])[..., 0], entropy

    def save_pretrained(self, folder, card=None):
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), str(Path(folder) / "model.safetensors"))
        (Path(folder) / "config.json").write_text(json.dumps({"policy": "tests.support.tiny_policy:TinyPolicy"}))

    @classmethod
    def from_pretrained(cls, folder):
        policy = cls()
        policy.load_state_dict(load_file(str(Path(folder) / "model.safetensors")))
        return policy
