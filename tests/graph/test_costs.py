"""Work that a run does not do twice or for nobody: held by counts, since times differ from machine to machine."""

import asyncio
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from codemode_graph import codemode
from codemode_graph.nodes.causes import failed_calls, warning_of
from codemode_graph.tools.spec import ToolPolicy


def _count(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, counts: Counter[str]) -> None:
    method = getattr(owner, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        counts[name] += 1
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)


@pytest.mark.parametrize("sandbox", ["monty", "auto"])
async def test_the_second_run_asks_no_sandbox_what_it_offers_and_hands_nothing_to_a_thread(
    sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()
    async with codemode(tools=[], sandbox=sandbox) as cm:
        await cm.run_code("1")
        _count(monkeypatch, asyncio.get_running_loop(), "run_in_executor", counts)
        assert (await cm.run_code("2"))["output"] == 2
        assert not counts


async def test_a_run_of_the_short_way_writes_one_checkpoint_and_reads_none_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: Counter[str] = Counter()
    for name in ("put", "put_writes", "get_tuple"):
        _count(monkeypatch, InMemorySaver, name, counts)
    async with codemode(tools=[], sandbox="monty") as cm:
        assert (await cm.run_code("1"))["success"]
        assert counts == {"put": 1, "get_tuple": 1}
        failed = await cm.run_code("1 / 0")
        assert (await cm.run_code("3", after=failed["run_id"]))["output"] == 3


async def test_a_run_that_is_cancelled_can_be_gone_on_with() -> None:
    called = asyncio.Event()
    answers = [asyncio.Event(), asyncio.Event()]

    async def ask() -> int:
        """Ask."""
        called.set()
        await answers.pop(0).wait()
        return 5

    async with codemode(tools=[ask], sandbox="monty", policies={"ask": ToolPolicy(effect="read")}) as cm:
        task = asyncio.create_task(cm.run_code("await tools.ask()"))
        await called.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (run,) = await cm.runs()
        assert run.status == "open"
        answers[0].set()
        assert (await cm.resume(run.run_id))["output"] == 5


UNUSED = (
    *("openai", "mcp", "typer", "docker", "jinja2", "jsonschema", "langchain", "psycopg", "aiosqlite", "numpy"),
    *("sqlite3", "langgraph.prebuilt", "langchain_core.language_models.chat_models", "langchain_core.vectorstores"),
    *(
        "codemode_graph.trace.console",
        "codemode_sandboxes.jail",
        "codemode_graph.calls.database",
        "codemode_graph.trace.plaintext",
    ),
)
IMPORTS = """
import sys
import langgraph.graph, langchain_core.language_models
before = len(sys.modules)
{code}
print(len(sys.modules) - before, *(name for name in {unused} if name in sys.modules))
"""
RUN = """
import asyncio
import subprocess
import sys
from codemode_graph import codemode

async def run():
    async with codemode(tools=[], sandbox="monty") as cm:
        assert (await cm.run_code("1"))["output"] == 1

asyncio.run(run())
"""


@pytest.mark.parametrize("code", ["from codemode_graph import codemode", RUN])
def test_nothing_is_imported_that_a_run_does_not_use(code: str) -> None:
    script = IMPORTS.format(code=code, unused=UNUSED)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    count, *unused = done.stdout.split()
    assert unused == []
    # Beside what LangGraph and LangChain import themselves. A module takes from 0.3 to 1 ms of processor time.
    assert int(count) <= 200, done.stdout


def test_help_imports_neither_langchain_nor_the_graph() -> None:
    script = "import sys\nsys.argv[1:] = ['--help']\nfrom codemode_graph.cli import main\ntry:\n    main()\nfinally:\n"
    script += "    print(*sys.modules, file=sys.stderr)\n"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    unused = {"langchain_core", "langgraph", "langsmith", "pydantic", "mcp", "openai", "jinja2", "codemode_sandboxes"}
    assert not unused & set(done.stderr.split())


class _Ids(list[str]):
    def __contains__(self, item: object) -> bool:
        raise AssertionError("a look through the list for each call takes time by the square of the calls")


def test_the_calls_of_an_attempt_are_not_looked_for_in_a_list() -> None:
    ids = [f"1:{number}" for number in range(3)]
    calls: list[Any] = [
        {"id": id, "key": id, "tool": "t", "arguments": {}, "status": "failed", "error": {"type": "", "message": ""}}
        for id in ids
    ]
    attempt: Any = {"calls": _Ids(ids), "failure": None, "output": None, "findings": []}
    assert failed_calls(calls, attempt["calls"]) == calls
    assert warning_of(attempt, calls) is not None
