"""Counts the first programs that are right before and after one earlier run, where tools do not declare their results.

    python -m benchmarks.observed_types

Twenty tasks, each over a tool of its own that says nothing of its result. The author is deterministic: it knows several names
that a field may have, in the order in which one would guess them, and several ways in which a list may come. It takes those
that the card shows, else its first guess. A first program counts as right where the run has the right answer and no repair.
Two results are maps, whose keys are data, and the field `plonk` has a name that is no field's anywhere: it is not learned.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import StructuredTool

from codemode_graph import codemode

__all__ = ["TASKS", "measure"]


@dataclass(frozen=True, slots=True)
class Task:
    """A task: the tool, what it returns, where its rows may be (empty: the result itself), and the field that is wanted."""

    tool: str
    result: Any
    places: Sequence[str]
    names: Sequence[str]
    answer: Any


def rows(key: str, *values: Any) -> list[dict[str, Any]]:
    """Return rows with this field, beside an id."""
    return [{"id": number, key: value} for number, value in enumerate(values, 1)]


LISTS = ("", "items", "results", "data", "records", "list")
TASKS = (
    Task("read_users", rows("userName", "a", "b"), LISTS, ("name", "username", "userName", "user_name"), ["a", "b"]),
    Task("read_orders", {"results": rows("total", 3, 4)}, LISTS, ("amount", "total", "sum"), [3, 4]),
    Task("read_files", {"items": rows("filename", "x")}, LISTS, ("name", "path", "filename"), ["x"]),
    Task("read_issues", rows("title", "x", "y"), LISTS, ("title", "name"), ["x", "y"]),
    Task("read_stock", {"records": rows("quantity", 3)}, LISTS, ("count", "quantity", "qty"), [3]),
    Task("read_events", {"items": rows("startTime", "9:00")}, LISTS, ("start", "start_time", "startTime"), ["9:00"]),
    Task("read_mails", rows("from_address", "a@b.c"), LISTS, ("from", "sender", "from_address"), ["a@b.c"]),
    Task("read_cities", rows("population", 5), LISTS, ("population",), [5]),
    Task("read_prices", {"data": rows("unitPrice", 1.5)}, LISTS, ("price", "unit_price", "unitPrice"), [1.5]),
    Task("read_commits", rows("sha", "f1"), LISTS, ("hash", "sha", "id"), ["f1"]),
    Task("read_weather", [{"temp_c": 21.5}], LISTS, ("temperature", "temp", "temp_c"), [21.5]),
    Task("read_flights", {"results": rows("departureTime", "8")}, LISTS, ("departure", "departureTime"), ["8"]),
    Task("read_invoices", rows("due_date", "d"), LISTS, ("due", "due_date", "dueDate"), ["d"]),
    Task("read_rooms", rows("capacity", 4), LISTS, ("capacity", "seats"), [4]),
    Task("read_logs", {"items": rows("severity", "low")}, LISTS, ("level", "severity"), ["low"]),
    Task("read_tickets", rows("assignedTo", "x"), LISTS, ("assignee", "owner", "assignedTo"), ["x"]),
    Task("read_parts", {"list": rows("plonk", 3)}, LISTS, ("size", "plonk"), [3]),
    Task("read_balances", {"cust_81": {"credit": 4}, "cust_82": {"credit": 5}}, LISTS, ("balance", "credit"), [4, 5]),
    Task("read_rates", {"EUR": 1.1, "USD": 1.0}, LISTS, ("rate",), [1.1, 1.0]),
    Task("read_zorbs", rows("zorb", 9), LISTS, ("value", "zorbs", "zorb"), [9]),
)


class Author(BaseChatModel):
    """Writes the program that a card allows."""

    write: Callable[[str], str]

    @property
    def _llm_type(self) -> str:
        return "author"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        program = self.write(messages[-1].text)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(f"```python\n{program}\n```"))])


def author(task: Task) -> Author:
    """Return the author of a task's program."""

    def write(request: str) -> str:
        card = request.partition(f"await tools['{task.tool}']")[2].partition("# Task")[0]
        seen = card.partition("seen: ")[2]
        known = re.findall(r"(\w+)\??:", seen)
        place = next((each for each in task.places if each in known), "") if seen else task.places[0]
        name = next((each for each in task.names if each in known), task.names[0])
        lines = [f"found = await tools['{task.tool}']()"]
        # A map shows in a card as `dict[str, ...]`: its values are the rows.
        is_map = seen.startswith("dict[str, ")
        lines.append(f"found = list(found{f'[{place!r}]' if place else ''}{'.values()' if is_map else ''})")
        scalar = is_map and not known
        lines.append("found" if scalar else f"[row[{name!r}] for row in found]")
        return "\n".join(lines)

    return Author(write=write)


async def first_is_right(task: Task, *, earlier: bool) -> bool:
    """Tell whether the first program of a task is right, with one run before it or without."""

    async def call() -> Any:
        return task.result

    tool = StructuredTool.from_function(coroutine=call, name=task.tool, description="Read them.")
    async with codemode(tools=[tool], model=author(task), sandbox="monty", max_attempts=1) as cm:
        if earlier:
            await cm.run_code(f"await tools['{task.tool}']()")
        result = await cm.run("Read them all.")
        return bool(result["success"]) and result["output"] == task.answer


async def measure() -> list[tuple[Task, bool, bool]]:
    """Return each task, and whether its first program is right before and after one earlier run."""
    return [
        (task, await first_is_right(task, earlier=False), await first_is_right(task, earlier=True)) for task in TASKS
    ]


def main() -> None:
    """Print the table."""
    found = asyncio.run(measure())
    print("| tool | before | after one run |\n|---|---|---|")
    for task, before, after in found:
        print(f"| {task.tool} | {'right' if before else 'wrong'} | {'right' if after else 'wrong'} |")
    print(f"| **of {len(found)}** | **{sum(b for _, b, _ in found)}** | **{sum(a for _, _, a in found)}** |")


if __name__ == "__main__":
    main()
