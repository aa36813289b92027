"""Whole runs whose model is asked over HTTP: what the service reported is what the metrics say."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import pytest
from langchain_core.runnables import RunnableConfig

from codemode_graph import CodeMode, codemode
from codemode_graph.metrics import metrics
from codemode_graph.tools import tool
from tests.wire.conftest import Connect
from tests.wire.payloads import Reply, failure, schema_of, server_error
from tests.wire.server import Request, Service
from tests.wire.ways import WAYS, Way, every_way

Make: TypeAlias = Callable[..., CodeMode]
SENT: list[str] = []


@tool(effect="read")
async def orders(month: str) -> Any:
    """List the orders of a month."""
    return {"rows": [{"customer": "ann", "total": 30}, {"customer": "bob", "total": 12}]}


async def send_mail(to: str, text: str) -> str:
    """Send a mail."""
    SENT.append(to)
    return f"m{len(SENT)}"


WRONG = """
async def main():
    await tools['send_mail'](to='ann@x.org', text='I am adding it up.')
    found = await tools['orders'](month='May')
    return sum(row['amount'] for row in found['rows'])
"""
RIGHT = WRONG.replace("amount", "total")
TASK = "Tell Ann that you begin, then add up the orders of May."


@pytest.fixture
async def make(connect: Connect) -> AsyncIterator[Make]:
    """Makes a code mode whose model is the service, and closes it."""
    clients: list[CodeMode] = []

    def make(way: Way, **options: Any) -> CodeMode:
        name = "gpt-5.2" if way.structured else "local-model"  # one has a profile with structured output
        if way.streamed:
            options["streaming"] = True
        model = connect(model=name, use_responses_api=way.responses, **options)
        clients.append(codemode(tools=[orders, send_mail], code_model=model, timeout=20))
        return clients[-1]

    SENT.clear()
    yield make
    for one in clients:
        await one.aclose()


@every_way
async def test_a_failing_program_is_repaired_and_all_tokens_are_counted(service: Service, make: Make, way: Way) -> None:
    service.script(Reply(code=WRONG), Reply(code=RIGHT))
    result = await make(way).run(TASK)
    assert (result["error"], result["output"], SENT) == (None, 42, ["ann@x.org"])
    used, [first, second] = result["metrics"], service.requests
    assert [(call["input_tokens"], call["output_tokens"]) for call in used["llm_calls"]] == [first.usage, second.usage]
    assert (used["total_input_tokens"], used["total_output_tokens"]) == service.usage
    assert used["total_tokens"] == sum(service.usage)
    assert (used["retries"], used["total_executions"], used["failed_executions"]) == (1, 2, 1)
    assert [call["model"] for call in used["llm_calls"]] == [first.body["model"]] * 2
    for request in (first, second):
        assert (schema_of(request.api, request.body) is not None) == way.structured
        assert bool(request.body.get("stream")) == way.streamed
    assert TASK in text_of(first)
    assert "KeyError" in text_of(second)
    assert "'amount'" in text_of(second)


@pytest.mark.parametrize("way", [way for way in WAYS if not way.streamed], ids=str)
async def test_tokens_are_counted_while_somebody_watches(service: Service, make: Make, way: Way) -> None:
    service.script(Reply(code=WRONG), Reply(code=RIGHT))
    config: RunnableConfig = {"configurable": {"thread_id": "watched"}}
    pieces: list[str] = []
    state: Any = None
    async for mode, chunk in make(way).graph.astream({"task": TASK}, config, stream_mode=["messages", "values"]):
        if mode == "messages":
            pieces.append(chunk[0].text)  # type: ignore[union-attr]
        else:
            state = chunk
    assert all(request.body["stream"] for request in service.requests)
    assert len(pieces) > 20
    assert "await tools" in "".join(pieces)
    used = metrics(state)
    assert (used["total_input_tokens"], used["total_output_tokens"]) == service.usage
    assert (state["output"], min(service.usage) > 0) == (42, True)


@every_way
async def test_an_answer_that_is_cut_off_has_no_effect(service: Service, make: Make, way: Way) -> None:
    half = WRONG[: WRONG.index("    found")]
    text = '{"thoughts": "x", "code": "' + half.replace("\n", "\\n") if way.structured else f"```python{half}"
    service.script(Reply(text=text, finish="length"))
    result = await make(way).run(TASK)
    assert (result["success"], SENT, result["tool_calls"]) == (False, [], [])
    assert result["error"] == "the model's answer was cut off at its token limit: raise the model's max_tokens"
    assert result["metrics"]["total_tokens"] == sum(service.usage) > 0


@every_way
async def test_a_service_that_fails_in_a_repair_leaves_what_was_done(service: Service, make: Make, way: Way) -> None:
    service.script(Reply(code=WRONG), server_error())
    result = await make(way).run(TASK)
    assert not result["success"]
    assert "The server had an error" in (result["error"] or "")
    assert [(call["tool"], call["status"]) for call in result["tool_calls"]] == [
        ("send_mail", "done"),
        ("orders", "done"),
    ]
    assert result["metrics"]["total_tokens"] == sum(service.usage) > 0


async def test_runs_at_the_same_time_count_their_own_tokens(service: Service, make: Make) -> None:
    service.script(Reply(code=RIGHT))
    tasks = [TASK + " And mind the details." * at for at in range(6)]
    results = await make(WAYS[0]).batch_run(tasks)
    assert [result["output"] for result in results] == [42] * 6
    asked = {text_of(request): request.usage for request in service.requests}
    for task, result in zip(tasks, results, strict=True):
        [usage] = [usage for text, usage in asked.items() if text.rstrip().endswith(task)]
        used = result["metrics"]
        assert (used["total_input_tokens"], used["total_output_tokens"]) == usage


async def test_a_run_in_each_of_several_event_loops(service: Service, make: Make) -> None:
    service.script(Reply(code=RIGHT))
    cm = make(WAYS[0])

    async def once() -> Any:
        result = await cm.run(TASK)
        await cm.aclose()
        return result["error"] or result["output"]

    assert [await asyncio.to_thread(asyncio.run, once()) for _ in range(2)] == [42, 42]
    assert (await asyncio.to_thread(cm.run_sync, TASK))["output"] == 42
    assert await once() == 42


async def test_a_model_named_by_a_string(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", service.url)
    service.script(Reply(code=RIGHT))
    async with codemode(tools=[orders, send_mail], code_model="openai:gpt-5.2", api_key=service.key) as cm:
        assert (await cm.run(TASK))["output"] == 42
    async with codemode(tools=[orders, send_mail], api_key="sk-proj-mistyped0123456789") as cm:
        result = await cm.run(TASK)
    assert "Incorrect API key provided" in (result["error"] or "")
    assert "mistyped" not in str(result)


async def test_cancelling_a_run_hangs_up(service: Service, make: Make) -> None:
    service.script(Reply(code=WRONG), Reply(code=RIGHT, delay=60))
    running = asyncio.ensure_future(make(WAYS[0]).run(TASK))
    while len(service.requests) < 2:
        assert not running.done()
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(service.requests[1].dropped.wait, 30)


async def test_a_run_that_the_service_refuses_is_reported_in_one_line(service: Service, make: Make) -> None:
    service.script(
        failure(403, "Country, region, or territory not supported", code="unsupported_country_region_territory")
    )
    result = await make(WAYS[0]).run(TASK)
    assert not result["success"]
    assert "territory not supported" in (result["error"] or "")
    assert "\n" not in (result["error"] or "")


def text_of(request: Request) -> str:
    """The last message of a request."""
    content = request.body["messages" if request.api == "chat" else "input"][-1]["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
