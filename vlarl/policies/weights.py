"""Building a network without memory for its weights, then filling it tensor by tensor, with every name checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlarl.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """A tensor on its way from a file into a module."""

    file: Path
    stored: str
    """Its name in the file."""
    name: str
    """Its name in our ``state_dict``."""
    value: Tensor


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Inside, modules are built with parameters that have a shape and no memory; buffers are real.

    A 7B network would otherwise take 27 GB and minutes of random numbers before the first weight is read.
    """
    register = nn.Module.register_parameter

    def register_on_meta(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(self, name, param)
        if param is not None:
            self._parameters[name] = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)

    setattr(nn.Module, "register_parameter", register_on_meta)  # noqa: B010 - a method is replaced
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        setattr(nn.Module, "register_parameter", register)  # noqa: B010


@torch.no_grad()
def fill(
    module: nn.Module,
    tensors: Iterable[NamedTensor],
    *,
    source: Path,
    type_of: Callable[[str], torch.dtype] = lambda _: torch.float32,
    may_be_new: Callable[[str], bool] = lambda _: False,
    stored_name: Callable[[str], str] = lambda name: name,
) -> list[str]:
    """Give ``module``, built on meta, its weights; every tensor is copied, so nothing refers to the file afterwards.

    Args:
        module: built inside ``parameters_on_meta``.
        tensors: in any order.
        source: folder named where a tensor is missing from several files.
        type_of: floating-point type that a parameter is kept in.
        may_be_new: whether a parameter may be absent from the files (a fresh adapter or critic).
        stored_name: our name as the files spell it, for messages.

    Returns:
        The names of the new parameters, uninitialised.

    Raises:
        CheckpointError: a tensor is missing, superfluous, of another shape, or not finite.
    """
    expected = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    missing, files = dict(expected), set()
    for tensor in tensors:
        files.add(tensor.file)
        if tensor.name not in expected:
            raise CheckpointError(
                f"{tensor.file}: tensor {tensor.stored!r} is not part of the architecture that config.json describes"
            )
        _check(tensor, expected[tensor.name])
        dtype = type_of(tensor.name)
        _put(module, tensor.name, torch.empty(tensor.value.shape, dtype=dtype).copy_(tensor.value))
        missing.pop(tensor.name, None)
    new = [name for name in missing if may_be_new(name)]
    lacking = [name for name in missing if name not in new]
    if lacking:
        first, where = lacking[0], files.pop() if len(files) == 1 else source
        raise CheckpointError(
            f"{where}: tensor {stored_name(first)!r} is missing ({len(lacking)} in all); "
            f"config.json describes it with shape {list(missing[first])}"
        )
    for name in new:
        _put(module, name, torch.empty(expected[name], dtype=type_of(name)))
    return new


def _check(tensor: NamedTensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.value.shape) != shape:
        hint = ""
        if tensor.stored.endswith(("embed_tokens.weight", "lm_head.weight")):
            hint = " (its rows are the vocabulary: field vocab_size)"
        raise CheckpointError(
            f"{tensor.file}: tensor {tensor.stored!r} has shape {list(tensor.value.shape)}; config.json beside it "
            f"describes {list(shape)}{hint}"
        )
    if not bool(torch.isfinite(tensor.value).all()):
        raise CheckpointError(
            f"{tensor.file}: tensor {tensor.stored!r} holds NaN or infinity; the file is no usable policy"
        )


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    path, _, last = name.rpartition(".")
    owner: Any = module.get_submodule(path)
    owner._parameters[last] = nn.Parameter(value, requires_grad=owner._parameters[last].requires_grad)
