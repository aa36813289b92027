"""The demo: a task over a shop's books and a post office."""

import os
import sys
from collections.abc import Awaitable, Callable

from langchain_core.language_models import BaseChatModel
from rich.console import Console

from codemode_graph.api import CodeMode, RunResult, codemode
from codemode_graph.demo.recorded import RecordedModel
from codemode_graph.demo.recording import RECORDED_FROM, RECORDINGS
from codemode_graph.demo.tools import outbox, send_letter, send_reminder
from codemode_graph.mcp import MCPToolLoader

__all__ = ["TASK", "run_demo"]

TASK = (
    "Send a reminder for each unpaid order of more than 50 euros. "
    "Return a list with the customer's id and the amount of each."
)


async def run_demo(
    model: str | BaseChatModel | None, show: Callable[[CodeMode, str], Awaitable[RunResult]]
) -> RunResult:
    """Run the demo's task.

    Args:
        model: Who writes the program. None takes OpenAI's where there is a key for it, else what was recorded.
        show: Runs the task and shows it.
    """
    console = Console(stderr=True)
    if model is None and not os.environ.get("OPENAI_API_KEY"):
        console.print(
            f"[bold yellow]The model's words are recorded[/] ({RECORDED_FROM}): there is no OPENAI_API_KEY and no --model. "
            "Everything else happens now: the tools are called, the sandbox runs the program.\n",
            highlight=False,
        )
        model = RecordedModel(recordings=RECORDINGS, model_name="recorded")
    async with MCPToolLoader() as mcp:
        mcp.add_stdio_server("shop", sys.executable, ["-m", "codemode_graph.demo.shop_server"])
        tools = [*await mcp.load(), send_reminder, send_letter]
        async with codemode(tools=tools, code_model=model) as cm:
            result = await show(cm, TASK)
    console.print(f"\n[bold]Reminders really sent:[/] {len(outbox)}", highlight=False)
    for customer, amount in outbox:
        console.print(f"  {customer}: {amount:.2f} euros", highlight=False)
    console.print()
    return result
