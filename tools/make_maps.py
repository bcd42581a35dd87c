"""Make the maps in ``assets/maps`` again: ``python tools/make_maps.py`` (equal byte for byte, tested)."""

from __future__ import annotations

from envs.driving.maps.map_generator import make_maps


def main() -> None:
    for path in make_maps():
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
