"""Our own maps: which there are, and writing them.

They are shipped in ``assets/maps``; ``tools/make_maps.py`` makes them again, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from envs.driving.maps.generated_grid import grid_town
from envs.driving.maps.generated_ring import ring_road
from envs.driving.maps.generated_roundabout import roundabout
from envs.driving.maps.generated_winding import winding_road
from vlarl.errors import NameNotFoundError, unknown_name

MAPS: Mapping[str, Callable[[], str]] = {
    "grid_town": grid_town,
    "ring_road": ring_road,
    "roundabout": roundabout,
    "winding_road": winding_road,
}
"""Name -> the function that draws the map."""

FOLDER = Path(__file__).parents[3] / "assets" / "maps"


def shipped_map(name: str) -> Path:
    """Where a map of ours lies.

    Raises:
        NameNotFoundError: there is none of that name.
    """
    if name not in MAPS:
        raise NameNotFoundError(unknown_name("map", name, MAPS, "Any OpenDRIVE file can be given by its path."))
    return FOLDER / f"{name}.xodr"


def make_maps(folder: Path = FOLDER) -> list[Path]:
    """Write all maps into ``folder``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in MAPS.items():
        paths.append(folder / f"{name}.xodr")
        paths[-1].write_bytes(draw().encode())
    return paths
