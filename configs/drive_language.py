"""``drive_carl`` with VLM-RL's synthesis in place of the hand-made reward, all else equal (arXiv 2412.15544).

A small CLIP that we made (``assets/driving_clip``) looks at the picture from above after every decision and says how
clear the road is; that sets the wanted speed. The thresholds belong to this
model: of pictures with a clear road nine in ten have a contrast above 0.05, of those with danger half are below -0.7.
"""

from dataclasses import replace
from pathlib import Path

from configs import drive_carl
from vlarl.config import TrainConfig
from vlarl.rewards.language_goal_driving import LanguageGoalDrivingConfig
from vlarl.rewards.language_goal_judge import JudgeConfig

MODEL = Path(__file__).parents[1] / "assets" / "driving_clip"


def config() -> TrainConfig:
    """The synthesis."""
    base = drive_carl.config()
    return replace(
        base,
        name="drive_language",
        env=replace(base.env, resolution=64, view_metres=32.0),
        rewards=(
            LanguageGoalDrivingConfig(
                positive=("the road is clear with no car accidents",),
                negative=(
                    "two cars have collided with each other on the road",
                    "a car is close ahead",
                    "the traffic light ahead is red",
                    "a pedestrian is ahead",
                    "the car is off the road",
                ),
                low=-0.5,
                high=0.2,
                judge=JudgeConfig(model=str(MODEL)),
            ),
        ),
    )
