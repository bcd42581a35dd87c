"""``drive_carl`` with VLM-RL's synthesis in place of the hand-made reward, all else equal (arXiv 2412.15544).

A small CLIP that we made (``assets/driving_clip``) looks at the picture from above after every decision and says how
clear the road is; that sets the wanted speed. The thresholds belong to this model and to these pictures: of those that
a policy sees which drives well, three in four have a contrast above -0.37 and nine in ten above -0.59; of the last ones
before a failure, half are below -0.3 to -0.86. With ``high`` above what is usual, standing still pays, and nothing else
is learned (tried with -0.5 and 0.2, and no ``success``). A completed route is worth what driving on perfectly for
ever would be: 1 / (1 - discount).
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
                low=-0.9,
                high=-0.3,
                success=100.0,
                judge=JudgeConfig(model=str(MODEL)),
            ),
        ),
    )
