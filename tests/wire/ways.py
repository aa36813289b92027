"""The ways in which a model is asked."""

import itertools
from dataclasses import dataclass

import pytest

__all__ = ["WAYS", "Way", "every_way"]


@dataclass(frozen=True, kw_only=True)
class Way:
    responses: bool
    streamed: bool
    structured: bool

    def __str__(self) -> str:
        words = ("responses" if self.responses else "chat", "streamed" * self.streamed, "structured" * self.structured)
        return "-".join(filter(None, words))


WAYS = [Way(responses=r, streamed=s, structured=t) for r, s, t in itertools.product((False, True), repeat=3)]
every_way = pytest.mark.parametrize("way", WAYS, ids=str)
