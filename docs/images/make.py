"""Make run.png, the picture of a page in docs/tracing.md, from a run of the demo: `python docs/images/make.py`.

It needs Chromium.
"""

import asyncio
import subprocess
import tempfile
from pathlib import Path

from codemode_graph.api import CodeMode, RunResult
from codemode_graph.demo import run_demo

OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1100,1580",
]  # fmt: skip


async def run(cm: CodeMode, task: str) -> RunResult:
    """Run the task of the demo without any output."""
    return await cm.run(task)


def main() -> None:
    """Run the demo, and take its picture."""
    trace = asyncio.run(run_demo(None, run)).trace
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "run.html"
        trace.save(page)
        picture = Path(__file__).with_name("run.png")
        command = ["chromium", *OPTIONS, f"--user-data-dir={folder}/profile", f"--screenshot={picture}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
