"""LIBERO's scenes are large: simulators are dropped after each module, renderers with them."""

import pytest

from vlarl.env_protocol import EpisodeSpec


@pytest.fixture(scope="module", autouse=True)
def drop_simulators():
    yield
    from envs.libero.render import close_renderers
    from envs.libero.simulator import forget_tasks

    close_renderers()
    forget_tasks()


@pytest.fixture
def make_spec():
    def make(suite="libero_object", task=0, init_state=0, seed=0, instruction="do it"):
        return EpisodeSpec(suite=suite, task=task, instruction=instruction, init_state=init_state, seed=seed)

    return make
