"""How a process of a group ends; the gradients themselves are tested in ``policies/test_training_at_size.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

PROGRAM = """
import atexit, sys
import torch.distributed as dist
from vlarl.nn.sharding import leave

class Finalised:
    def __del__(self):
        print("finalised")

kept = Finalised()  # let go of when the interpreter clears this module
atexit.register(print, "registered")
dist.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=0, world_size=1)
print("printed", end=" ")
if sys.argv[2] == "leave":
    leave(3)
dist.destroy_process_group()
"""


def said_and_status(tmp_path: Path, way: str) -> tuple[list[str], int]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / way), way]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    return done.stdout.split(), done.returncode


def test_a_process_leaves_its_group_without_finalising_the_interpreter(tmp_path: Path):
    """A gloo thread that releases a tensor while the interpreter is being finalised aborts the process."""
    assert said_and_status(tmp_path, "return") == (["printed", "registered", "finalised"], 0)  # what leave spares us
    assert said_and_status(tmp_path, "leave") == (["printed", "registered"], 3)
