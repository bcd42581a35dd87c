"""``drive_carl`` with the additive shaped reward that CaRL's simple one is compared with, all else equal."""

from dataclasses import replace

from configs import drive_carl
from vlarl.config import TrainConfig
from vlarl.rewards.additive_driving import AdditiveDrivingConfig


def config() -> TrainConfig:
    """The ablation."""
    return replace(drive_carl.config(), name="drive_additive", rewards=(AdditiveDrivingConfig(),))
