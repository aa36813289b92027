"""A support desk: tickets, of which nothing declares the shape, and the people who work on them."""

from typing import Literal

from benchmarks.small_tasks.task import Change, Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]

_LEDGER: list[Change] = []
_TICKETS = [
    {"ticket_id": 501, "subject": "Login fails", "priority": "high", "state": "open", "owner_id": None, "hours": 5},
    {"ticket_id": 502, "subject": "Typo on page", "priority": "low", "state": "open", "owner_id": "u2", "hours": 1},
    {"ticket_id": 503, "subject": "Data lost", "priority": "high", "state": "open", "owner_id": "u1", "hours": 8},
    {"ticket_id": 504, "subject": "Slow search", "priority": "low", "state": "closed", "owner_id": "u1", "hours": 3},
]
_AGENTS = {"u1": {"name": "Hana", "level": 2}, "u2": {"name": "Igor", "level": 1}, "u3": {"name": "Jo", "level": 2}}


@tool(effect="read")
def list_tickets(state: Literal["open", "closed"]):  # type: ignore[no-untyped-def]
    """List the tickets in a state."""
    closed = {change[1] for change in _LEDGER if change[0] == "close_ticket"}
    shown = [{**each, "state": "closed"} if each["ticket_id"] in closed else each for each in _TICKETS]
    return [each for each in shown if each["state"] == state]


@tool(effect="read")
def get_agent(agent_id: str):  # type: ignore[no-untyped-def]
    """Get a person of the support desk by id."""
    if agent_id not in _AGENTS:
        raise ValueError(f"nobody has the id {agent_id!r}")
    return {"id": agent_id, **_AGENTS[agent_id]}


@tool(effect="write")
def assign_ticket(ticket_id: int, agent_id: str) -> bool:
    """Give a ticket to a person, by the ids of both."""
    if agent_id not in _AGENTS:
        raise ValueError(f"nobody has the id {agent_id!r}")
    _LEDGER.append(("assign_ticket", ticket_id, agent_id))
    return True


@tool(effect="write")
def close_ticket(ticket_id: int, note: str) -> bool:
    """Close a ticket with a note."""
    if ticket_id not in {each["ticket_id"] for each in _TICKETS}:
        raise ValueError(f"there is no ticket {ticket_id!r}")
    _LEDGER.append(("close_ticket", ticket_id, note))
    return True


TOOLS = Toolset(name="support", functions=(list_tickets, get_agent, assign_ticket, close_ticket), ledger=_LEDGER)

TASKS = (
    Task(
        name="support-subjects",
        toolset="support",
        text="List the subjects of the open tickets whose priority is high.",
        expected=["Login fails", "Data lost"],
    ),
    Task(
        name="support-owner",
        toolset="support",
        text="What is the name of the person who owns the open ticket 'Data lost'?",
        expected="Hana",
    ),
    Task(
        name="support-hours",
        toolset="support",
        text="How many hours do all open and closed tickets of the owner u1 have together?",
        expected=11,
    ),
    Task(
        name="support-assign",
        toolset="support",
        text="Assign every open ticket that has no owner to u3. Return the ids of these tickets.",
        expected=[501],
        changes=[("assign_ticket", 501, "u3")],
    ),
)
