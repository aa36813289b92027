"""The choice of a sandbox in a graph, how that is told, and that a stopped program goes on where it began."""

import logging
from typing import Any

import codemode_sandboxes.registry
import pytest
from codemode_sandboxes import AutoSandbox, FallbackSandbox, MockSandbox, Sandbox, SandboxUnavailable, UnknownSandbox
from codemode_sandboxes.choice import BY_COST
from codemode_sandboxes.monty import MontySandbox
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from codemode_graph import ToolPolicy, codemode, create_codemode, tool
from codemode_graph.errors import ConfigurationError
from codemode_graph.server.environment import sandbox as served_sandbox
from tests.support import scripted

YIELDS = "def g():\n    yield 3\nsum(g())"
GATED = "def g():\n    yield from [1, 2]\nfor n in g():\n    await tools.pay(n)\n'paid'"

paid: list[int] = []


def pay(amount: int) -> str:
    """Pay."""
    paid.append(amount)
    return "ok"


@tool(effect="read")
def rate() -> int:
    """Return the rate."""
    return 2


@pytest.fixture(autouse=True)
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    paid.clear()
    monkeypatch.setitem(codemode_sandboxes.registry.SANDBOXES, "absent", "tests.cli.sandboxes:absent")


async def events_of(graph: Any, payload: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The last state, and the events about sandboxes."""
    events, state = [], {}
    async for mode, part in graph.astream(payload, stream_mode=["custom", "values"]):
        if mode == "values":
            state = part
        elif part["type"] == "sandbox":
            events.append(part)
    return state, events


async def test_the_default_asks_no_sandbox_that_a_program_does_not_need() -> None:
    async with codemode(tools=[rate]) as cm:
        plain = await cm.run_code("await tools.rate()")
        assert (plain["output"], plain["sandbox"]) == (2, "monty")
        assert isinstance(cm.sandbox, AutoSandbox)
        assert list(cm.sandbox._offers) == ["monty"]
        fuller = await cm.run_code(YIELDS)
        assert fuller["output"] == 3
        assert fuller["sandbox"] != "monty"
        assert cm.sandbox._offers["monty"].enforces <= cm.sandbox._offers[str(fuller["sandbox"])].enforces


async def test_types_are_checked_by_the_monty_that_runs_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[MontySandbox] = []
    init = MontySandbox.__init__

    def count(self: MontySandbox, *args: Any, **options: Any) -> None:
        started.append(self)
        init(self, *args, **options)

    monkeypatch.setattr(MontySandbox, "__init__", count)
    async with codemode(tools=[rate]) as cm:
        wrong = await cm.run_code("(await tools.rate()) + 'x'")
        right = await cm.run_code("await tools.rate()")
    assert wrong["attempts"][0]["findings"]
    assert right["sandbox"] == "monty"
    assert len(started) == 1


async def test_auto_takes_the_cheapest_that_offers_what_each_program_uses() -> None:
    async with codemode(tools=[rate], auto=["restricted", "monty"]) as cm:
        plain = await cm.run_code("await tools.rate()")
        fuller = await cm.run_code(YIELDS)
    assert (plain["output"], plain["sandbox"]) == (2, "monty")
    assert (fuller["output"], fuller["sandbox"]) == (3, "restricted")
    assert fuller["attempts"][-1]["sandbox"] == "restricted"
    assert fuller["metrics"]["sandboxes"] == {"restricted": 1}


async def test_what_is_chosen_and_why_is_told() -> None:
    graph = create_codemode(model=None, tools=[rate], auto=["monty", "absent", "restricted"]).compile()
    _, (event,) = await events_of(graph, {"task": "", "code": YIELDS})
    assert event["name"] == "restricted"
    assert event["warning"] is None
    assert event["passed_over"] == [{"name": "monty", "lacks": ["generator functions"], "reason": "", "remedy": ""}]


async def test_what_no_sandbox_offers_is_a_finding_and_says_what_else_there_is() -> None:
    graph = create_codemode(model=None, tools=[rate], auto=["monty", "absent"]).compile()
    state, (event,) = await events_of(graph, {"task": "", "code": f"import numpy\nnumpy.zeros(1)\n{YIELDS}"})
    assert {each["rule"] for each in state["attempts"][0]["findings"]} == {"missing-module", "unsupported-syntax"}
    assert "absent: Install it with `make it-so`" in state["error"]["message"]
    assert (event["name"], [each["name"] for each in event["passed_over"]]) == (None, ["monty", "absent"])
    assert state["attempts"][0]["sandbox"] is None


async def test_what_no_one_sandbox_offers_together_is_a_finding() -> None:
    auto = AutoSandbox(["monty", "restricted"])
    only_monty = next(
        iter(auto.backend("monty").capabilities.modules - auto.backend("restricted").capabilities.modules)
    )
    async with codemode(tools=[rate], backend=auto) as cm:
        result = await cm.run_code(f"import {only_monty}\n{only_monty}\n{YIELDS}")
    (finding,) = result["attempts"][0]["findings"]
    assert finding["rule"] == "no-sandbox"
    assert f"monty lacks generator functions; restricted lacks the module {only_monty}" in finding["message"]


async def test_the_model_is_told_what_the_sandboxes_offer_together() -> None:
    model = scripted(YIELDS)
    async with codemode(tools=[rate], code_model=model, auto=["monty", "restricted"]) as cm:
        result = await cm.run("Count")
    assert (result["output"], result["sandbox"]) == (3, "restricted")
    system = model.asked[0][0].text
    assert "CPython" in system
    assert "generator functions" not in system


async def test_a_stopped_program_goes_on_where_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    def graph(**options: Any) -> Any:
        graph = create_codemode(model=None, tools=[pay], policies={"pay": ToolPolicy(approval=True)}, **options)
        return graph.compile(checkpointer=checkpoints)

    checkpoints, config = InMemorySaver(), {"configurable": {"thread_id": "1"}}
    approve: Command[Any] = Command(resume={"decisions": [{"type": "approve"}]})
    state = await graph(auto=["monty", "restricted"]).ainvoke({"task": "", "code": GATED}, config)
    assert state["attempts"][0]["sandbox"] == "restricted"
    with pytest.raises(SandboxUnavailable, match="this run's program began there"):
        await graph(auto=["monty"]).ainvoke(approve, config)
    # Elsewhere, where a cheaper one could run it now: it goes on in its own.
    monkeypatch.setattr("codemode_sandboxes.choice.find_lacks", lambda code, able: ())
    state = await graph(auto=["monty", "restricted"]).ainvoke(approve, config)
    assert (state["attempts"][0]["sandbox"], paid) == ("restricted", [1])
    for options in ({"sandbox": "monty"}, {"auto": ["monty"]}):
        with pytest.raises(SandboxUnavailable, match="'restricted' is not available: this run's program began there"):
            await graph(**options).ainvoke(approve, config)
    assert paid == [1]
    state = await graph(sandbox="restricted").ainvoke(approve, config)
    assert (state["output"], paid) == ("paid", [1, 2])


async def test_a_fallback_is_told_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    graph = create_codemode(model=None, tools=[rate], sandbox="absent", fallback=["restricted", "monty"]).compile()
    with caplog.at_level(logging.WARNING, "codemode"):
        state, (event,) = await events_of(graph, {"task": "", "code": "await tools.rate()"})
    assert (state["output"], state["attempts"][0]["sandbox"], event["name"]) == (2, "restricted", "restricted")
    warning = (
        "absent cannot be used: there is no such thing here. Install it with `make it-so`. "
        "The program runs in restricted instead"
    )
    assert event["warning"] == warning
    assert warning in caplog.text


async def test_a_backend_that_does_not_start_is_followed_by_the_next() -> None:
    class Stuck(MockSandbox):
        name = "stuck"

        async def start(self, *_: Any) -> Any:
            raise SandboxUnavailable("stuck", "it does not start")

    async with codemode(tools=[rate], backend=Stuck([]), fallback=["monty"]) as cm:
        result = await cm.run_code("1 + 1")
    assert (result["output"], result["sandbox"]) == (2, "monty")


async def test_without_a_fallback_what_is_not_there_is_an_error_that_says_how_to_get_it() -> None:
    with pytest.raises(SandboxUnavailable, match="Install it with `make it-so`"):
        codemode(tools=[rate], backend="absent")
    graph = create_codemode(model=None, tools=[rate], sandbox="absent", fallback=[AutoSandbox(["absent"])])
    with pytest.raises(SandboxUnavailable, match="make it-so"):
        await graph.compile().ainvoke({"task": "", "code": "1"})


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(UnknownSandbox, match="did you mean 'restricted'"):
        codemode(tools=[rate], fallback=["restricte"])
    with pytest.raises(ConfigurationError, match="leave fallback out"):
        create_codemode(model=None, tools=[rate], sandbox="auto", fallback=["monty"])


def test_a_served_graph_reads_its_sandboxes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def new_sandbox(**variables: str) -> Sandbox:
        for name in ("SANDBOX", "AUTO", "FALLBACK"):
            monkeypatch.setenv(f"CODEMODE_{name}", variables.get(name, ""))
        return served_sandbox.__wrapped__()

    default = new_sandbox()
    assert isinstance(default, AutoSandbox)
    assert default.names[: len(BY_COST)] == BY_COST
    assert new_sandbox(SANDBOX="monty").name == "monty"
    auto = new_sandbox(AUTO="restricted, monty")
    assert isinstance(auto, AutoSandbox)
    assert auto.names == ("monty", "restricted")
    fallback = new_sandbox(SANDBOX="nsjail", FALLBACK="restricted,monty")
    assert isinstance(fallback, FallbackSandbox)
    assert fallback.names == ("nsjail", "restricted", "monty")
    with pytest.raises(UnknownSandbox):
        new_sandbox(SANDBOX="nowhere")
