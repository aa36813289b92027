"""Small sets of tools, and tasks for them with their answers."""

from benchmarks.small_tasks import bank, calendar, files, library, shop, weather
from benchmarks.small_tasks.task import Task, Toolset

__all__ = ["TASKS", "TOOLSETS", "Task"]

_MODULES = (shop, calendar, weather, bank, files, library)

TOOLSETS: dict[str, Toolset] = {module.TOOLS.name: module.TOOLS for module in _MODULES}
"""The sets of tools, by name."""

TASKS: tuple[Task, ...] = tuple(task for module in _MODULES for task in module.TASKS)
"""All tasks, set by set."""
