"""The runs that LangSmith's client sends, to a server on loopback that reads them as LangSmith does."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from langchain.agents import create_agent
from langchain_core.tools import tool as langchain_tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from langsmith import Client, traceable, tracing_context
from pydantic import SecretStr

from codemode_graph import (
    CodeModeMiddleware,
    ToolPolicy,
    codemode,
    create_codemode,
    create_codemode_chat,
    create_codemode_tool,
    tool,
)
from tests.integrations.agents import agent_model, calling
from tests.support import scripted
from tests.tracing.service import Ingest, Run, ingest
from tests.wire.server import Service

UNKNOWN = "await tools.report(1)"
FAILS = """
import asyncio
print('looking')
names = await tools.names()
reports = await asyncio.gather(*[tools.slow_report(name=name) for name in names])
raise ValueError('no such luck')
"""
WORKS = """
import asyncio
names = await tools.names()
reports = await asyncio.gather(*[tools.slow_report(name=name) for name in names])
people = [await tools.person(name='ann', token='tok-4711'), await tools.account(name='ann', token='tok-4711')]
{'reports': reports, 'names': [person['name'] for person in people]}
"""
SECRETS = ("tok-4711", "DE89", "sk-live-0123456789abcdef", "lsv2_pt_this_is_the_key", "hunter2hunter2")


@tool(effect="read")
def names() -> list[str]:
    """List the names."""
    return ["ann", "bob", "cat"]


@tool(effect="read")
async def slow_report(name: str) -> str:
    """Report, slowly."""
    await asyncio.sleep(0.1)
    return await summarised(name)


@traceable(name="summarise")
async def summarised(name: str) -> str:
    return f"{name} is well"


@tool(effect="read")
async def person(name: str, token: str) -> dict[str, str]:
    """Look up a person."""
    return {"name": await passed_on(name, token), "iban": "DE89 3704"}


@traceable(name="passed on")
async def passed_on(name: str, token: str) -> str:
    return name


@langchain_tool
async def account(name: str, token: str) -> dict[str, str]:
    """Look up an account."""
    return {"name": await passed_on(name, token), "iban": "DE89 3704"}


@tool(effect="read")
async def broken(token: str) -> str:
    """Fail."""
    raise ConnectionError(f"https://ann:hunter2hunter2@example.com refused {token}")


TOOLS = [names, slow_report, person, account, broken]
HIDING = {name: ToolPolicy(redact=frozenset({"token", "iban"})) for name in ("person", "account")}


async def run(graph: Any, payload: Any, config: Any = None) -> Ingest:
    with ingest() as service:
        client = Client(api_url=service.url, api_key="lsv2_pt_this_is_the_key")
        with tracing_context(enabled=True, client=client, project_name="tests"):
            await graph.ainvoke(payload, config)
        client.flush()
        client.cleanup()
    assert set(service.paths) == {"/runs/multipart"}
    return service


@pytest_asyncio.fixture(scope="module")
async def service() -> AsyncIterator[Ingest]:
    graph = create_codemode(model=scripted(UNKNOWN, FAILS, WORKS), tools=TOOLS, policies=HIDING).compile(
        name="codemode"
    )
    yield await run(graph, {"task": "Report on everybody."})


@pytest.fixture
def root(service: Ingest) -> Run:
    return service.root()


def test_one_trace_has_every_node_model_call_sandbox_and_tool(root: Run) -> None:
    model = ["llm ScriptedModel"]
    reports = ["tool slow_report", "chain summarise"]
    sandbox = ["chain sandbox monty", "tool names", reports, reports, reports]
    assert shape(root) == [
        "chain codemode",
        ["chain generate", *model],
        "chain check",
        ["chain repair", *model],
        "chain check",
        ["chain execute", sandbox],
        "chain inspect_output",
        ["chain repair", *model],
        "chain check",
        ["chain execute", ["chain sandbox monty", "tool person", "tool account"]],
        "chain inspect_output",
    ]


def shape(run: Run) -> Any:
    here = f"{run.run_type} {run.name}"
    return [here, *map(shape, run.children)] if run.children else here


def test_model_calls_say_what_they_used(root: Run) -> None:
    calls = root.all("ScriptedModel")
    for number, call in enumerate(calls, 1):
        assert call.metadata["usage_metadata"] == {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
        assert call.metadata["ls_model_type"] == "chat"
        assert call.metadata["codemode_attempt"] == number
        assert "codemode" in call.tags
    assert len(calls) == 3


def test_nodes_show_what_they_read_and_made_of_it(root: Run) -> None:
    assert root.inputs == {"task": "Report on everybody."}
    assert root.outputs["output"]["names"] == ["ann", "ann"]
    first, second, _ = root.all("check")
    assert first.inputs["program"].strip() == UNKNOWN
    assert [finding["rule"] for finding in first.outputs["findings"]] == ["unknown-tool"]
    assert first.outputs["verdict"] == "error"
    assert second.outputs["findings"] == []
    (failed, worked) = root.all("execute")
    assert failed.outputs["error"]["message"] == "no such luck"
    assert failed.outputs["stdout"] == "looking\n"
    assert worked.outputs["output"]["names"] == ["ann", "ann"]
    assert root.all("repair")[0].inputs["error"]["kind"] == "check"
    assert [run.outputs["verdict"] for run in root.all("inspect_output")] == ["error", "ok"]
    # The state is not sent again and again.
    assert all(
        len(json.dumps([run.inputs, run.outputs])) < 2_000 for run in root.walk() if run.name in ("check", "execute")
    )


def test_a_sandbox_run_shows_program_and_end(root: Run) -> None:
    failed, worked = root.all("sandbox monty")
    assert failed.error.startswith("ValueError: no such luck (line 5)\n")
    assert "slow_report" in failed.inputs["program"]
    assert failed.inputs["attempt"] == 2
    assert worked.error is None
    assert worked.outputs["value"]["reports"] == ["ann is well", "bob is well", "cat is well"]
    assert [call["status"] for call in worked.outputs["calls"]] == ["answered from the journal"] * 4 + ["done"] * 2
    for run in (failed, worked):
        assert {"codemode", "sandbox:monty"} <= set(run.tags)
        assert run.metadata["codemode_sandbox"] == "monty"


def test_tool_runs_have_arguments_and_values_and_lie_side_by_side(root: Run) -> None:
    reports = root.all("slow_report")
    assert [run.inputs for run in reports] == [{"name": name} for name in ("ann", "bob", "cat")]
    assert [run.outputs["output"] for run in reports] == ["ann is well", "bob is well", "cat is well"]
    assert [run.metadata["codemode_id"] for run in reports] == ["2.2", "2.3", "2.4"]
    assert {run.metadata["codemode_line"] for run in reports} == {4}
    assert {run.metadata["codemode_effect"] for run in reports} == {"read"}
    begins, ends = ([datetime.fromisoformat(run.data[key]) for run in reports] for key in ("start_time", "end_time"))
    assert max(begins) < min(ends)
    (outside,) = [run for run in root.walk() if run.id == reports[0].parent_run_id]
    assert datetime.fromisoformat(outside.start_time) <= min(begins)
    assert max(ends) <= datetime.fromisoformat(outside.end_time)


def test_what_a_policy_hides_is_hidden(service: Ingest, root: Run) -> None:
    for name in ("person", "account"):
        (call,) = root.all(name)
        assert call.inputs == {"name": "ann", "token": "[redacted]"}
        assert call.outputs["output"] == {"name": "ann", "iban": "[redacted]"}
        assert call.children == []
    # The model wrote the token into its program: there it is the model's word, not a tool's.
    rest = service.raw.replace("token='tok-4711'", "")
    assert [secret for secret in SECRETS if secret in rest] == []


async def test_an_error_tells_no_credential() -> None:
    program = "await tools.broken(token='sk-live-0123456789abcdef')"
    plain = create_codemode(model=None, tools=TOOLS).compile(name="codemode")
    hiding = create_codemode(
        model=None, tools=TOOLS, policies={"broken": ToolPolicy(redact=frozenset({"token"}))}
    ).compile(name="codemode")
    for graph in (plain, hiding):
        service = await run(graph, {"task": "", "code": program})
        (call,) = service.root().all("broken")
        assert call.error.startswith("ConnectionError(")
        assert "hunter2hunter2" not in service.raw
        assert "refused [redacted]" in call.error


async def test_a_run_that_waits_goes_on_in_a_trace_of_the_same_thread() -> None:
    @tool(effect="write")
    def send(to: str) -> str:
        """Send."""
        return f"sent to {to}"

    graph = create_codemode(model=None, tools=[send], policies={"send": ToolPolicy(approval=True)})
    compiled = graph.compile(checkpointer=InMemorySaver(), name="codemode")
    config = {"configurable": {"thread_id": "letters"}}
    service = await run(compiled, {"task": "", "code": "await tools.send('ann')"}, config)
    (waiting,) = service.root().all("sandbox monty")
    assert waiting.error is None
    assert [call["tool"] for call in waiting.outputs["waits"]] == ["send"]
    assert service.root().all("send") == []
    assert service.root().all("approve")[0].error.startswith("GraphInterrupt(")
    service = await run(compiled, Command(resume={"decisions": [{"type": "approve"}]}), config)
    root = service.root()
    assert root.metadata["thread_id"] == "letters"
    assert [run.outputs["output"] for run in root.all("send")] == ["sent to ann"]
    assert list(root.all("approve")[0].outputs["decisions"].values()) == ["approve"]


async def test_it_stands_below_what_runs_it(caplog: pytest.LogCaptureFixture) -> None:
    @traceable(name="errand")
    async def errand() -> None:
        async with codemode(tools=[names, account], policies={"account": HIDING["account"]}) as cm:
            await cm.run_code("[await tools.names(), await tools.account(name='ann', token='x')]")

    with ingest() as service:
        client = Client(api_url=service.url, api_key="k")
        with tracing_context(enabled=True, client=client):
            await errand()
        client.flush()
        client.cleanup()
    sandbox = ["chain sandbox monty", "tool names", "tool account"]
    assert shape(service.root()) == [
        "chain errand",
        ["chain codemode", "chain generate", "chain check", ["chain execute", sandbox], "chain inspect_output"],
    ]
    # A tracer that meets a run twice logs that.
    assert caplog.messages == []


@pytest.mark.parametrize("way", ["middleware", "middleware, sync", "tool", "chat"])
async def test_in_an_agent_each_run_is_traced_once(caplog: pytest.LogCaptureFixture, way: str) -> None:
    program, said = "[await tools.names(), await tools.names()]", {"messages": [("user", "go")]}
    app: Any
    if way == "chat":
        app = create_codemode_chat(model=scripted(program), tools=[names]).compile(name="books")
    elif way == "tool":
        desk = create_codemode_tool([names], model=scripted(program))
        app = create_agent(agent_model(calling("codemode", {"task": "names"}), "Done."), tools=[desk])
    else:
        model = agent_model(calling("run_program", {"code": program}), "Done.")
        app = create_agent(model, tools=[names], middleware=[CodeModeMiddleware()])
    with ingest() as service:
        client = Client(api_url=service.url, api_key="k")
        with tracing_context(enabled=True, client=client):
            await (asyncio.to_thread(app.invoke, said) if way.endswith("sync") else app.ainvoke(said))
        client.flush()
        client.cleanup()
    assert caplog.messages == []
    assert len(service.root().all("names")) == 2
    assert len(service.root().all("execute")) == 1


@pytest.mark.parametrize("structured", [False, True])
async def test_a_real_client_is_traced_with_its_provider_and_without_its_key(structured: bool) -> None:
    code = "sum(await tools.numbers())"

    @tool(effect="read")
    def numbers() -> list[int]:
        """List the numbers."""
        return [1, 2, 3]

    text = json.dumps({"thoughts": "I add.", "code": code}) if structured else f"```python\n{code}\n```"
    with Service(text) as service:
        name = "gpt-5.2" if structured else "local-model"
        model = ChatOpenAI(model=name, base_url=service.url, api_key=SecretStr(service.key))
        graph = create_codemode(model=model, tools=[numbers]).compile(name="codemode")
        traced = await run(graph, {"task": "Add them."})
        read, written = service.usage
    root = traced.root()
    assert root.outputs["output"] == 6
    (call,) = root.all("ChatOpenAI")
    assert call.run_type == "llm"
    assert (call.metadata["ls_provider"], call.metadata["ls_model_name"]) == ("openai", name)
    used = call.metadata["usage_metadata"]
    assert (used["input_tokens"], used["output_tokens"]) == (read, written)
    assert [each.name for each in root.all("generate")[0].children] == [
        "structured program" if structured else "ChatOpenAI"
    ]
    assert service.key not in traced.raw


@pytest.mark.slow
def test_the_environment_is_all_it_takes() -> None:
    secret = "sk-live-0123456789abcdef"
    with ingest() as service:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI", "LANGCHAIN"))}
        environment |= {
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_ENDPOINT": service.url,
            "LANGSMITH_API_KEY": "lsv2_pt_this_is_the_key",
            "LANGSMITH_PROJECT": "demo",
            "SHOP_TOKEN": secret,
        }
        done = subprocess.run(
            [sys.executable, "-m", "codemode_graph", "demo"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr
    root = service.root()
    assert root.session_name == "demo"
    assert [run.name for run in root.walk() if run.run_type == "llm"] == ["RecordedModel"] * 2
    assert sum(run.metadata["usage_metadata"]["total_tokens"] for run in root.walk() if run.run_type == "llm") == 3230
    assert {"list-orders", "send_reminder", "send_letter"} <= {
        run.name for run in root.walk() if run.run_type == "tool"
    }
    assert secret not in service.raw
    assert "lsv2_pt_this_is_the_key" not in service.raw
