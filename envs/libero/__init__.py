"""The LIBERO benchmark (Liu et al. 2023, arXiv 2306.03310) and LIBERO-PRO's perturbed suites.

``LiberoConfig`` describes, ``Libero`` is one slot. ``envs.libero.simulator`` offers the simulator itself.
"""

from envs.libero.env import Libero, LiberoConfig

__all__ = ["Libero", "LiberoConfig"]
