"""Driving through CARLA's own client: in the stand-in (``vlarl drive serve``), or in a real CARLA server.

The episodes, actions, observations, events and scores are those of :mod:`envs.drive`, so a policy that was trained
there is evaluated here without a change. A suite is a map, ``carla_grid_town`` or ``carla_town02``.

* Without ``--env.host`` each slot starts a stand-in of its own, and starts it anew after a crash.
* ``--env.host HOST --env.port 2000`` drives in a server that runs, stand-in or CARLA. One slot per server.
* ``--env.command 'CarlaUE4.sh -nullrhi'`` starts a real server, and starts it anew after a crash.

The backend stands in the protocol of every result. Scores of the stand-in are not CARLA scores.

``carla`` is needed by a process of its own alone, which may be that of another interpreter (``--env.client-python``).

For code that uses ``carla.Client`` itself there are :mod:`envs.carla.global_route_planner` and
:mod:`envs.carla.basic_agent`, which the wheel lacks.

Example::

    vlarl eval vlarl.policies.route_following:RouteFollowing --suite carla_grid_town --episodes 4
    vlarl eval runs/carl_0 --suite carla_town02 --env.host 192.168.0.7 --workers 1 --slots 1
"""

from envs.carla.env import Carla, CarlaConfig

__all__ = ["Carla", "CarlaConfig"]
