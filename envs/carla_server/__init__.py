"""A stand-in for CARLA's server: the genuine ``carla`` 0.9.16 client drives in our own world."""
