"""An office: people, their events, rooms."""

from typing import Literal

from typing_extensions import TypedDict

from benchmarks.small_tasks.task import Change, Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]


class Person(TypedDict):
    """One person."""

    person_id: int
    name: str
    email: str
    team: str


class Event(TypedDict):
    """One event of a calendar."""

    title: str
    day: str
    start_hour: int
    minutes: int


_LEDGER: list[Change] = []
_PEOPLE = [
    Person(person_id=11, name="Dana", email="dana@example.com", team="design"),
    Person(person_id=12, name="Omar", email="omar@example.com", team="sales"),
    Person(person_id=13, name="Lee", email="lee@example.com", team="sales"),
]
_EVENTS = {
    11: [
        Event(title="Standup", day="monday", start_hour=9, minutes=15),
        Event(title="Review", day="monday", start_hour=14, minutes=60),
    ],
    12: [
        Event(title="Standup", day="monday", start_hour=9, minutes=15),
        Event(title="Call", day="tuesday", start_hour=10, minutes=30),
        Event(title="Pitch", day="tuesday", start_hour=15, minutes=90),
    ],
    13: [Event(title="Lunch", day="tuesday", start_hour=12, minutes=45)],
}
_FREE = {9: ["Oak"], 14: ["Birch"], 16: ["Birch", "Oak"]}


@tool(effect="read")
def find_person(name: str) -> Person:
    """Find a person by name."""
    for person in _PEOPLE:
        if person["name"].lower() == name.lower():
            return person
    raise ValueError(f"nobody is called {name!r}")


@tool(effect="read")
def list_events(person_id: int, day: Literal["monday", "tuesday"]) -> list[Event]:
    """List a person's events on a day."""
    return [event for event in _EVENTS.get(person_id, []) if event["day"] == day]


@tool(effect="read")
def free_rooms(hour: int) -> list[str]:
    """The names of the rooms that are free at an hour, 0 to 23."""
    return _FREE.get(hour, [])


@tool(effect="write")
def book_room(room: str, hour: int, title: str) -> bool:
    """Book a room at an hour for an event."""
    _LEDGER.append(("book_room", room, hour, title))
    return True


TOOLS = Toolset(name="calendar", functions=(find_person, list_events, free_rooms, book_room), ledger=_LEDGER)

TASKS = (
    Task(
        name="calendar-lookup",
        toolset="calendar",
        text="What is Dana's email address?",
        expected="dana@example.com",
    ),
    Task(
        name="calendar-chain",
        toolset="calendar",
        text="How many minutes of events does Omar have on Tuesday?",
        expected=120,
    ),
    Task(
        name="calendar-fanout",
        toolset="calendar",
        text="How many events do Dana, Omar and Lee have on Monday? Return a dict with their names as keys.",
        expected={"Dana": 2, "Omar": 1, "Lee": 0},
    ),
    Task(
        name="calendar-write",
        toolset="calendar",
        text="Book a room that is free at 14 hours for 'Planning'. Return the room's name.",
        expected="Birch",
        changes=[("book_room", "Birch", 14, "Planning")],
    ),
    Task(
        name="calendar-busiest",
        toolset="calendar",
        text="Who has the most minutes of events on Tuesday: Dana, Omar or Lee? Return the name.",
        expected="Omar",
    ),
)
