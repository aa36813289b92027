"""A garage: vehicles, whose papers nothing declares, and appointments."""

from typing_extensions import TypedDict

from benchmarks.small_tasks.task import Change, Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]


class Vehicle(TypedDict):
    """One vehicle."""

    plate: str
    model: str
    owner: str
    kilometres: int


_LEDGER: list[Change] = []
_VEHICLES = [
    Vehicle(plate="KA-11", model="Vanta", owner="Lena", kilometres=82000),
    Vehicle(plate="KA-12", model="Orbit", owner="Lena", kilometres=15500),
    Vehicle(plate="KA-13", model="Vanta", owner="Timo", kilometres=121000),
]
_PAPERS = {"KA-11": ("2027-03", 540.0), "KA-12": ("2028-10", 310.0), "KA-13": ("2026-12", 620.0)}
_FREE = {"monday": [8, 13], "tuesday": [10]}


@tool(effect="read")
def list_vehicles() -> list[Vehicle]:
    """List all vehicles."""
    return _VEHICLES


@tool(effect="read")
def get_papers(plate: str):  # type: ignore[no-untyped-def]
    """Get the papers of a vehicle: until when its inspection holds, and what its insurance costs in a year."""
    if plate not in _PAPERS:
        raise ValueError(f"there is no vehicle with the plate {plate!r}")
    until, cost = _PAPERS[plate]
    return {"plate": plate, "inspection": {"valid_until": until}, "insurance": {"yearly_cost": cost}}


@tool(effect="read")
def free_hours(day: str) -> list[int]:
    """The hours of a weekday at which there is time for a vehicle."""
    taken = [change[2:4] for change in _LEDGER]
    return [hour for hour in _FREE.get(day.lower(), []) if (day, hour) not in taken]


@tool(effect="write")
def make_appointment(plate: str, day: str, hour: int) -> str:
    """Make an appointment for a vehicle. Returns its number."""
    if hour not in _FREE.get(day.lower(), []):
        raise ValueError(f"{day} at {hour} is not free")
    _LEDGER.append(("make_appointment", plate, day.lower(), hour))
    return f"A{len(_LEDGER)}"


TOOLS = Toolset(name="garage", functions=(list_vehicles, get_papers, free_hours, make_appointment), ledger=_LEDGER)

TASKS = (
    Task(
        name="garage-plates",
        toolset="garage",
        text="List the plates of the vehicles that have more than 80000 kilometres.",
        expected=["KA-11", "KA-13"],
    ),
    Task(
        name="garage-inspection",
        toolset="garage",
        text="Until when does the inspection of KA-13 hold? Return the month as it is in the papers.",
        expected="2026-12",
    ),
    Task(
        name="garage-insurance",
        toolset="garage",
        text="What does the insurance of all vehicles of Lena cost in a year, together?",
        expected=850.0,
    ),
    Task(
        name="garage-appointment",
        toolset="garage",
        text="Make an appointment for Timo's vehicle at the first hour that is free on tuesday. Return the appointment's "
        "number.",
        expected="A1",
        changes=[("make_appointment", "KA-13", "tuesday", 10)],
    ),
)
