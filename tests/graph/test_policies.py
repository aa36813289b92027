"""Policies are kept, call by call."""

import asyncio
import json
import time
from typing import Any

import pytest
from codemode_sandboxes import Returned
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from codemode_graph import ConfigurationError, ToolPolicy, create_codemode
from codemode_graph.calls.values import is_reference
from codemode_graph.settings import Prices
from codemode_graph.tools import tool
from codemode_graph.tools.spec import AfterCalls, Review
from tests.support import scripted


class World:
    """Tools that count."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.running = self.most = 0

    @property
    def tools(self) -> list[Any]:
        @tool(effect="read")
        async def look(key: str) -> dict[str, Any]:
            """Look something up."""
            self.calls.append(key)
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.005)
            self.running -= 1
            if key == "flaky" and self.calls.count("flaky") < 3:
                raise ConnectionError("busy")
            if key == "wrong":
                raise ValueError("no such key")
            return {"key": key, "secret": "s3cret", "rows": list(range(5000 if key == "big" else 1))}

        async def write(to: str, token: str = "") -> str:
            """Change something."""
            self.calls.append(("write", to))
            if to == "slow":
                await asyncio.sleep(5)
            return f"wrote {to}"

        return [look, write]


async def run(program: str, *, world: World | None = None, **options: Any) -> dict[str, Any]:
    graph = create_codemode(model=None, tools=(world or World()).tools, **options).compile()
    state: dict[str, Any] = await graph.ainvoke({"task": "", "code": program})
    return state


async def test_a_read_is_retried_and_a_write_is_not() -> None:
    world = World()
    state = await run("(await tools.look('flaky'))['key']", world=world, policies={"look": ToolPolicy(retries=2)})
    assert state["output"] == "flaky"
    assert world.calls == ["flaky"] * 3
    world = World()
    state = await run("await tools.look('wrong')", world=world, policies={"look": ToolPolicy(retries=2)})
    assert state["error"]["type"] == "ValueError"
    assert world.calls == ["wrong"]
    world = World()
    policies = {"write": ToolPolicy(retries=2, timeout=0.05)}
    state = await run("await tools.write('slow')", world=world, policies=policies)
    assert state["__interrupt__"][0].value["action_requests"][0]["reason"] == "unknown"
    assert world.calls == [("write", "slow")]
    assert state["tool_calls"][0]["status"] == "unknown"


async def test_no_more_calls_run_at_once_than_allowed() -> None:
    world = World()
    program = "import asyncio\nlen(await asyncio.gather(*[tools.look(str(i)) for i in range(12)]))"
    state = await run(program, world=world, policies={"look": ToolPolicy(concurrency=3)})
    assert (state["output"], world.most) == (12, 3)


async def test_no_more_calls_are_made_than_allowed() -> None:
    world = World()
    program = "for i in range(3):\n    await tools.write(str(i))\n"
    state = await run(program, world=world, policies={"write": ToolPolicy(max_calls=2)})
    assert "2 times in a run" in state["error"]["message"]
    assert len(world.calls) == 2
    state = await run(program, max_tool_calls=1)
    assert "its 1 tool calls" in state["error"]["message"]


async def test_a_cached_read_is_made_once_until_something_changes() -> None:
    world = World()
    program = "a = await tools.look('a')\nb = await tools.look('a')\nawait tools.write('x')\nc = await tools.look('a')\na == b == c"
    state = await run(program, world=world, policies={"look": ToolPolicy(cache=True)})
    assert state["output"] is True
    assert world.calls == ["a", ("write", "x"), "a"]


async def test_a_result_that_is_too_big_raises_in_the_program() -> None:
    policies = {"look": ToolPolicy(max_result_bytes=1000)}
    state = await run(
        "try:\n    await tools.look('big')\nexcept ValueError as e:\n    x = str(e)\nx", policies=policies
    )
    assert "1000" in state["output"] or "1,000" in state["output"]


async def test_what_is_redacted_reaches_the_program_and_nobody_else() -> None:
    policies = {"*": ToolPolicy(redact=frozenset({"secret", "token"}))}
    program = "r = await tools.look('a')\nawait tools.write('x', token=r['secret'])\nlen(r['secret'])"
    graph = create_codemode(model=None, tools=World().tools, policies=policies).compile()
    chunks: list[Any] = []
    async for chunk in graph.astream({"task": "", "code": program}, stream_mode=["custom", "values"]):
        chunks.append(chunk)
    assert "s3cret" not in json.dumps(chunks)
    state = chunks[-1][1]
    assert state["output"] == 6
    assert state["tool_calls"][1]["arguments"] == {"to": "x", "token": "[redacted]"}


@pytest.mark.parametrize("store", [None, InMemoryStore()], ids=["file", "store"])
async def test_a_big_value_is_kept_by_reference_and_can_be_loaded(store: InMemoryStore | None) -> None:
    graph = create_codemode(model=None, tools=World().tools, inline_bytes=2000)
    app = graph.compile(checkpointer=InMemorySaver(), store=store)
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    state = await app.ainvoke({"task": "", "code": "await tools.look('big')"}, config)
    assert is_reference(state["output"])
    assert is_reference(state["tool_calls"][0]["value"])
    assert state["output"]["shape"] == "{key: str, secret: str, rows: list of 5000 int}"
    assert len(json.dumps(state)) < 5000
    handle = state["output"]["codemode_reference"]
    edited = f"(await tools.load_value('{handle}'))['rows'][-1]"
    fork = await app.aupdate_state(config, {"program": edited, "verdict": None}, as_node="check")
    assert (await app.ainvoke(None, fork))["output"] == 4999
    stolen = await app.ainvoke({"task": "", "code": f"await tools.load_value('{handle}')"}, config)
    assert stolen["error"]["type"] == "KeyError"


async def paused(program: str, world: World, policies: dict[str, ToolPolicy], **options: Any) -> tuple[Any, Any, Any]:
    graph = create_codemode(model=None, tools=world.tools, policies=policies, **options)
    app = graph.compile(checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    await app.ainvoke({"task": "", "code": program}, config)
    return app, config, (await app.aget_state(config)).interrupts


async def test_approval_by_arguments_and_after_some_calls() -> None:
    world = World()
    policies = {"write": ToolPolicy(approval=lambda arguments: arguments["to"].endswith("!"))}
    _, _, (interrupt,) = await paused("await tools.write('a')\nawait tools.write('b!')", world, policies)
    assert [action["args"]["to"] for action in interrupt.value["action_requests"]] == ["b!"]
    world = World()
    policies = {"write": ToolPolicy(approval=AfterCalls(2))}
    _, _, (interrupt,) = await paused("for i in range(9):\n    await tools.write(str(i))\n", world, policies)
    assert [action["args"]["to"] for action in interrupt.value["action_requests"]] == ["2"]
    assert len(world.calls) == 2


async def test_calls_that_need_nobody_end_before_anybody_is_asked() -> None:
    world = World()
    program = (
        "import asyncio\n"
        "a, b, c = await asyncio.gather(tools.write('x'), tools.look('y'), tools.write('z'))\n[a, b['key'], c]"
    )
    app, config, (interrupt,) = await paused(program, world, {"write": ToolPolicy(approval=True)})
    assert [action["args"]["to"] for action in interrupt.value["action_requests"]] == ["x", "z"]
    assert world.calls == ["y"]
    decisions = [
        {"type": "edit", "edited_action": {"name": "write", "args": {"to": "edited"}}},
        {"type": "respond", "message": "nobody wrote"},
    ]
    state = await app.ainvoke(Command(resume={"decisions": decisions}), config)
    assert state["output"] == ["wrote edited", "y", "nobody wrote"]
    assert world.calls == ["y", ("write", "edited")]


async def test_a_tool_can_say_itself_whether_a_call_that_was_cut_off_took_effect() -> None:
    world = World()

    async def verify(arguments: Any) -> Returned | None:
        return Returned("wrote it before") if ("write", arguments["to"]) in world.calls else None

    model = scripted("await tools.write('slow')", "x = await tools.write('slow')\nx")
    policies = {"write": ToolPolicy(timeout=0.05, verify=verify)}
    state = await create_codemode(model=model, tools=world.tools, policies=policies).compile().ainvoke({"task": "x"})
    assert state["output"] == "wrote it before"
    assert world.calls == [("write", "slow")]


async def test_a_cost_that_is_crossed_ends_the_run_with_what_it_has() -> None:
    graph = create_codemode(
        model=scripted("1 / 0"), tools=[], max_cost=0.0002, prices=Prices(input=1.0, output=10.0)
    ).compile()
    state = await graph.ainvoke({"task": "x"})
    assert state["verdict"] == "exhausted"
    assert "0.0003 of its 0.0002" in state["error"]["message"]
    with pytest.raises(ConfigurationError, match="prices"):
        create_codemode(model=None, tools=[], max_cost=1.0)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"max_tokens": 100}, "120 of its 100 tokens"),
        ({"max_cost": 0.001, "prices": Prices(input=10, output=50)}, "has cost 0.002 of its 0.001"),
        ({"max_model_calls": 1}, "made its 1 model calls"),
        ({"max_seconds": 2}, "used its 2 seconds"),
        ({"max_tool_calls": 1}, "made its 1 tool calls"),
    ],
)
async def test_a_run_over_its_budget_ends_with_what_it_has_and_says_why(budget: dict[str, Any], said: str) -> None:
    world = World()
    pause = budget.get("max_seconds", 0) + 0.1
    program = f"import asyncio\nawait tools.write('x')\nprint('sent')\nawait asyncio.sleep({pause})\n{{}}['lost']"
    model = scripted(f"```python\n{program}\n```", "```python\n1\n```")
    state = await create_codemode(model=model, tools=world.tools, **budget).compile().ainvoke({"task": "write"})
    assert (state["verdict"], len(state["attempts"])) == ("exhausted", 1)
    assert said in state["error"]["message"]
    assert world.calls == [("write", "x")]
    assert [call["status"] for call in state["tool_calls"]] == ["done"]
    assert state["stdout"] == "sent\n"


async def test_the_time_that_a_run_waits_for_people_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    app, config, interrupts = await paused(
        "await tools.write('x')", world, {"write": ToolPolicy(approval=True)}, max_seconds=60
    )
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 3600)  # an hour later
    state = await app.ainvoke(Command(resume={interrupts[0].id: {"decisions": [{"type": "approve"}]}}), config)
    assert (state["verdict"], state["output"]) == ("ok", "wrote x")


@pytest.mark.parametrize(
    "program",
    ["await tools.write('x')", "await tools['write'](to='x')", "await write('x')", "w = tools.write\nawait w('x')"],
)
async def test_a_program_that_names_a_tool_for_models_alone_is_not_run(program: str) -> None:
    world = World()
    state = await run(f"await tools.look('a')\n{program}", world=world, policies={"write": ToolPolicy(callers="model")})
    (finding,) = state["attempts"][0]["findings"]
    assert (finding["rule"], finding["line"]) == ("reserved-tool", 2)
    assert "tools['write'] is not for programs" in finding["message"]
    assert world.calls == []


async def test_a_tool_for_models_alone_has_no_card_and_cannot_be_reached_by_a_computed_name() -> None:
    world, model = World(), scripted("name = 'wri' + 'te'\nawait tools[name]('x')")
    policies = {"*": ToolPolicy(callers="model"), "look": ToolPolicy(callers="program")}
    graph = create_codemode(model=model, tools=world.tools, policies=policies, max_attempts=1).compile()
    state = await graph.ainvoke({"task": "x"})
    shown = model.asked[0][-1].text
    assert "tools['look']" in shown
    assert "tools['write']" not in shown
    assert "no tool named 'write'" in state["error"]["message"]
    assert world.calls == []


async def test_a_review_says_what_may_be_decided_and_what_the_person_reads() -> None:
    world = World()
    review = Review(
        when=lambda call: call["to"] != "a",
        decisions=("approve", "reject"),
        description=lambda call: f"Really write to {call['to']}?",
    )
    program = "await tools.write('a')\nawait tools.write('b')"
    app, config, (interrupt,) = await paused(program, world, {"write": ToolPolicy(approval=review)})
    (action,) = interrupt.value["action_requests"]
    assert (action["args"]["to"], action["description"]) == ("b", "Really write to b?")
    assert interrupt.value["review_configs"] == [{"action_name": "write", "allowed_decisions": ["approve", "reject"]}]
    state = await app.ainvoke(Command(resume={"decisions": [{"type": "respond", "message": "x"}]}), config)
    assert "one of approve, reject" in state["__interrupt__"][0].value["problem"]
    state = await app.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    assert state["output"] == "wrote b"
    assert world.calls == [("write", "a"), ("write", "b")]
