"""vlarl: reinforcement learning of embodied policies, from a 2-core laptop to a cluster.

Importing this package loads neither torch nor a simulator.
"""

__version__ = "0.1.0"
