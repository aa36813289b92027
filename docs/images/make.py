"""Make the pictures of the README and of docs/tracing.md from real runs: `python docs/images/make.py`.

`run.svg` is a run in a terminal, where a script plays the model. `run.png` is the page of a run of the demo; it needs Chromium.
"""

import asyncio
import re
import subprocess
import tempfile
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from langchain_core.language_models import GenericFakeChatModel
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from codemode_graph import codemode, tool
from codemode_graph.api import CodeMode, RunResult
from codemode_graph.demo import run_demo
from codemode_graph.events import Event
from codemode_graph.metrics import Metrics
from codemode_graph.trace.progress import Progress

HERE = Path(__file__).parent
PICTURE = HERE / "run.svg"
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1100,1580",
]  # fmt: skip

_SUMS = """owed = {}
for order in await tools.list_unpaid_orders():
    owed[order['customer']] = owed.get(order['customer'], 0) + order['total']
"""
_REMINDERS = """for customer, amount in owed.items():
    await tools.send_reminder(customer=customer, amount=amount)
"""
PROGRAMS = [_SUMS.replace("total", "amount") + "owed", _SUMS + _REMINDERS + "owed['all']", _SUMS + _REMINDERS + "owed"]


@dataclass
class Order:
    """An order of the shop."""

    customer: str
    total: float


@tool(effect="read")
def list_unpaid_orders() -> list[Order]:
    """List the orders that are not paid."""
    return [Order("Ann", 80.0), Order("Ann", 45.0), Order("Bob", 12.0)]


@tool(effect="write")
def send_reminder(customer: str, amount: float) -> str:
    """Remind a customer of what is due."""
    return "sent"


class Watch(Progress):
    """Show a run without its metrics, and without what a script says about itself."""

    def show(self, event: Event) -> None:
        """Print an event."""
        if event["type"] != "model":
            super().show(event)

    def end(self, used: Metrics) -> None:
        """Leave the metrics out."""
        self.stop()


async def terminal() -> str:
    """Return an SVG of a run in a terminal, with the tools of examples/reminders.py and three programs.

    It has no font of its own: rich's template loads one from another host.
    """
    model = GenericFakeChatModel(messages=iter([f"```python\n{program}\n```" for program in PROGRAMS]))
    console = Console(file=StringIO(), record=True, width=128, force_terminal=False, color_system="truecolor")
    async with codemode(tools=[list_unpaid_orders, send_reminder], code_model=model) as cm:
        result = await cm.run("Remind every customer of what they owe, and return the sums.", Watch(console))
    console.print(result["output"])
    code_format = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="codemode-graph run", code_format=code_format, unique_id="run")


async def run(cm: CodeMode, task: str) -> RunResult:
    """Run the task of the demo without any output."""
    return await cm.run(task)


def main() -> None:
    """Make both pictures."""
    PICTURE.write_text(asyncio.run(terminal()))
    trace = asyncio.run(run_demo(None, run)).trace
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "run.html"
        trace.save(page)
        picture = HERE / "run.png"
        command = ["chromium", *OPTIONS, f"--user-data-dir={folder}/profile", f"--screenshot={picture}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
