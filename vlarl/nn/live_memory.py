"""How many bytes of tensors are alive at once while a piece of code runs, counted tensor by tensor.

Works on real tensors and on fake ones (``FakeTensorMode``), which have shapes and no memory: a 7B network can be
counted on a laptop.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the storages that operations inside a ``with`` block make; what existed before is left out.

    Example::

        with LiveBytes() as live:
            loss = network(x).sum()
            loss.backward()
        print(live.peak)
    """

    def __init__(self) -> None:
        super().__init__()
        self.current = 0
        self.peak = 0
        self._known: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()

    def ignore(self, tensors: Any) -> None:
        """Never count the storages of these tensors (any nesting)."""
        for leaf in tree_leaves(tensors):
            if isinstance(leaf, Tensor):
                self._known[leaf.untyped_storage()] = True

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operation and note what it made."""
        self.ignore((args, kwargs))
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        size = storage.nbytes()
        self._known[storage] = True
        self.current += size
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._freed, size)

    def _freed(self, size: int) -> None:
        self.current -= size


def gigabytes(count: float) -> float:
    """Bytes as GB (10^9), the unit that GPUs are sold in."""
    return count / 1e9


def parameter_bytes(module: torch.nn.Module, wanted: Callable[[str], bool]) -> int:
    """Bytes of the parameters whose name is ``wanted``."""
    return sum(p.numel() * p.element_size() for name, p in module.named_parameters() if wanted(name))
