"""Randomness from the program's seed, so that two runs of a program draw the same numbers.

`random`, `uuid`, `secrets` and `os.urandom` all draw from it: they are reproducible, and so no program may take them
for secrets. Hashes of strings do not vary either: the interpreter is started with a fixed hash seed.
"""

import os
import random
import uuid
from typing import Any

__all__ = ["seed_everything"]

_seed_one = random.Random.seed


def seed_everything(seed: int) -> None:
    """Draw all further randomness from this seed."""
    source = random.Random(seed)
    draw, drawn_bytes = source.getrandbits, source.randbytes

    def seed_generator(self: random.Random, a: Any = None, version: int = 2) -> None:
        _seed_one(self, draw(64) if a is None else a, version)

    for module, name, value in (
        (random.Random, "seed", seed_generator),
        (random, "_urandom", drawn_bytes),
        (os, "urandom", drawn_bytes),
        (uuid, "_generate_time_safe", None),
        (uuid, "_UuidCreate", None),
        (uuid, "_node", draw(48) | (1 << 40)),
    ):
        setattr(module, name, value)
    random.seed(draw(64))
