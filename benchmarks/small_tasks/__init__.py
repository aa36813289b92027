"""Small sets of tools, and tasks for them with their answers: one half for work on the prompts, one for reports alone."""

from types import ModuleType

from benchmarks.small_tasks import (
    bank,
    calendar,
    files,
    garage,
    hotel,
    library,
    pantry,
    school,
    shop,
    support,
    warehouse,
    weather,
)
from benchmarks.small_tasks.task import Task, Toolset

__all__ = ["REPORT", "TASKS", "TOOLSETS", "TUNING", "Task"]


def _tasks(*modules: ModuleType) -> tuple[Task, ...]:
    return tuple(task for module in modules for task in module.TASKS)


TUNING = _tasks(shop, calendar, weather, bank, files, library)
"""The tasks that prompts and messages may be worked on with."""

REPORT = _tasks(hotel, support, warehouse, school, garage, pantry)
"""The tasks that only reports use. Nobody looks at what a model makes of them to change a prompt."""

TASKS = TUNING + REPORT

TOOLSETS: dict[str, Toolset] = {
    module.TOOLS.name: module.TOOLS
    for module in (bank, calendar, files, garage, hotel, library, pantry, school, shop, support, warehouse, weather)
}
"""The sets of tools, by name."""
