"""Hostile programs: this project's own, and those beside the repository where they are."""

from tests.sandboxes.cases import load
from tests.sandboxes.hostile.attack import Attack
from tests.sandboxes.hostile.inside import INSIDE
from tests.sandboxes.hostile.reach import REACHES

__all__ = ["ATTACKS", "Attack"]


def _shared() -> tuple[Attack, ...]:
    return tuple(
        Attack(
            name=case["id"],
            category=case["category"],
            code=case["code"] + "\nawait main()",
            followup=(followup := case.get("followup")) and followup + "\nawait main()",
            pollutes="pollute" in case["detect"],
        )
        for case in load("escapes")
    )


ATTACKS: tuple[Attack, ...] = (*REACHES, *INSIDE, *_shared())
