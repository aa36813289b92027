"""A school: pupils, their marks, and letters to their parents."""

from typing_extensions import TypedDict

from benchmarks.small_tasks.task import Change, Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]


class Pupil(TypedDict):
    """One pupil."""

    pupil_id: int
    name: str
    form: str


class Mark(TypedDict):
    """One mark, from 1 to 6; 6 is the best."""

    subject: str
    mark: float


_LEDGER: list[Change] = []
_PUPILS = [
    Pupil(pupil_id=71, name="Nora", form="3a"),
    Pupil(pupil_id=72, name="Emil", form="3a"),
    Pupil(pupil_id=73, name="Zoe", form="3b"),
]
_MARKS = {
    71: [Mark(subject="maths", mark=5.5), Mark(subject="music", mark=5.0)],
    72: [Mark(subject="maths", mark=3.0), Mark(subject="music", mark=4.5)],
    73: [Mark(subject="maths", mark=3.5), Mark(subject="music", mark=6.0)],
}


@tool(effect="read")
def list_pupils(form: str) -> list[Pupil]:
    """List the pupils of a form such as "3a"."""
    return [pupil for pupil in _PUPILS if pupil["form"] == form]


@tool(effect="read")
def get_marks(pupil_id: int) -> list[Mark]:
    """List the marks of a pupil."""
    if pupil_id not in _MARKS:
        raise ValueError(f"there is no pupil with the id {pupil_id!r}")
    return _MARKS[pupil_id]


@tool(effect="write")
def send_letter(pupil_id: int, text: str) -> str:
    """Send a letter to the parents of a pupil. Returns the letter's number."""
    if pupil_id not in _MARKS:
        raise ValueError(f"there is no pupil with the id {pupil_id!r}")
    _LEDGER.append(("send_letter", pupil_id, text))
    return f"L{len(_LEDGER)}"


TOOLS = Toolset(name="school", functions=(list_pupils, get_marks, send_letter), ledger=_LEDGER)

TASKS = (
    Task(
        name="school-count",
        toolset="school",
        text="How many pupils are in the forms 3a and 3b together?",
        expected=3,
    ),
    Task(
        name="school-marks",
        toolset="school",
        text="What mark does each pupil of form 3a have in maths? Return a dict from the pupil's name to the mark.",
        expected={"Nora": 5.5, "Emil": 3.0},
    ),
    Task(
        name="school-mean",
        toolset="school",
        text="What is the mean of the marks in music of all pupils of the forms 3a and 3b? Round it to 2 digits.",
        expected=5.17,
    ),
    Task(
        name="school-letters",
        toolset="school",
        text="Send a letter with the text 'Please call us' to the parents of each pupil of the forms 3a and 3b whose mark in "
        "maths is below 4. Return the names of these pupils.",
        expected=["Emil", "Zoe"],
        changes=[("send_letter", 72, "Please call us"), ("send_letter", 73, "Please call us")],
    ),
)
