"""The compiled graph, as people use it: sync and async, streamed, checkpointed, drawn, with knobs."""

import asyncio
import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph

from codemode_graph import ConfigurationError, Context, ToolLoadError, create_codemode
from tests.e2e.office import Office
from tests.support import scripted

PROGRAM = "async def main():\n    return [e['title'] for e in await tools['list_events'](calendar_id='work')]"
WRONG = PROGRAM.replace("'title'", "'name'")
TITLES = ["Standup", "Review", "Lunch"]


def compiled(*programs: str, checkpointer: InMemorySaver | None = None, **options: Any) -> CompiledStateGraph[Any, Any]:
    model = scripted(*programs)
    return create_codemode(model=model, tools=Office().tools, **options).compile(checkpointer=checkpointer)


async def test_ainvoke_gives_the_output_schema() -> None:
    state = await compiled(PROGRAM).ainvoke({"task": "titles"})
    assert state["verdict"] == "ok"
    assert state["output"] == TITLES
    assert set(state) == {
        "verdict",
        "output",
        "error",
        "warning",
        "stdout",
        "program",
        "attempts",
        "tool_calls",
        "updates",
        "usage",
        "left_over",
    }


@pytest.mark.parametrize("searched", [False, True])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "the input has nothing to do: give it a `task`, or a program as `code`"),
        ({"task": None}, "the input has nothing to do: give it a `task`, or a program as `code`"),
        ({"task": None, "code": 5}, "`code` of the input is a text, not int"),
        ({"task": ["x"]}, "`task` of the input is a text, not list"),
    ],
)
async def test_an_input_with_nothing_to_do_is_told(given: dict[str, Any], message: str, searched: bool) -> None:
    graph = compiled(PROGRAM, card_tokens=1 if searched else None)
    with pytest.raises(ConfigurationError) as caught:
        await graph.ainvoke(given)
    assert str(caught.value) == message
    assert (await graph.ainvoke({"code": "1 + 1"}))["output"] == 2


def test_invoke_works_without_an_event_loop() -> None:
    assert compiled(WRONG, PROGRAM).invoke({"task": "titles"})["output"] == TITLES


async def test_invoke_works_in_a_thread_that_runs_an_event_loop() -> None:
    graph = compiled(PROGRAM)
    assert graph.invoke({"task": "titles"})["output"] == TITLES
    assert (await asyncio.to_thread(graph.invoke, {"task": "titles"}))["output"] == TITLES


async def test_a_stream_shows_the_nodes_and_what_happens_in_them() -> None:
    updates: list[str] = []
    events: list[str] = []
    chunk: Any
    async for mode, chunk in compiled(WRONG, PROGRAM).astream({"task": "titles"}, stream_mode=["updates", "custom"]):
        if mode == "updates":
            updates += list(chunk)
        else:
            events.append(chunk["type"])
    assert updates == ["generate", "check", "repair", "check", "execute", "inspect_output"]
    assert events == [
        *("attempt", "model", "check", "outcome"),
        *("attempt", "model", "check", "sandbox", "call_started", "call_finished", "outcome"),
    ]


async def test_a_thread_can_be_used_for_one_task_after_another() -> None:
    graph = compiled(WRONG, PROGRAM, "1 + 1", checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    first = await graph.ainvoke({"task": "titles"}, config)
    second = await graph.ainvoke({"task": "two"}, config)
    assert (len(first["attempts"]), first["output"]) == (2, TITLES)
    assert (len(second["attempts"]), second["output"], second["tool_calls"]) == (1, 2, [])


async def test_an_edited_state_can_be_run_from() -> None:
    graph = compiled(PROGRAM, checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke({"task": "titles"}, config)
    past = [step async for step in graph.aget_state_history(config) if step.next == ("execute",)][0]
    forked = await graph.aupdate_state(past.config, {"program": "40 + 2"}, as_node="check")
    assert (await graph.ainvoke(None, forked))["output"] == 42


def test_the_drawing_shows_every_way() -> None:
    edges = {(edge.source, edge.target) for edge in compiled(PROGRAM).get_graph().edges}
    assert edges == {
        ("__start__", "generate"),
        ("generate", "check"),
        ("generate", "__end__"),
        ("check", "execute"),
        ("check", "repair"),
        ("check", "__end__"),
        ("execute", "approve"),
        ("execute", "inspect_output"),
        ("approve", "execute"),
        ("inspect_output", "repair"),
        ("inspect_output", "__end__"),
        ("repair", "check"),
        ("repair", "__end__"),
    }


async def test_knobs_come_by_context_and_others_stay() -> None:
    graph = compiled(WRONG, WRONG + "\n", PROGRAM, max_attempts=3)
    state = await graph.ainvoke({"task": "titles"}, context=Context(max_attempts=1))
    assert (state["verdict"], len(state["attempts"])) == ("exhausted", 1)
    state = await graph.ainvoke({"task": "titles"}, context=Context(max_tokens=100))
    assert state["verdict"] == "exhausted"
    assert "120 of its 100 tokens" in state["error"]["message"]
    with pytest.raises(ValueError, match="max_attempts"):
        await graph.ainvoke({"task": "titles"}, context={"max_attempts": "lots"})


async def test_schemas_can_be_shown() -> None:
    graph = compiled(PROGRAM)
    assert set(graph.get_input_jsonschema()["properties"]) == {"task", "code", "returns"}
    assert set((graph.get_context_jsonschema() or {})["properties"]) == {
        *(
            "max_attempts",
            "max_tokens",
            "max_model_calls",
            "max_seconds",
            "max_tool_calls",
            "max_cost",
            "anew",
            "returns",
        )
    }


async def test_a_model_that_fails_ends_the_run_and_nothing_runs() -> None:
    office = Office()
    graph = create_codemode(model=scripted(RuntimeError("no route to host")), tools=office.tools).compile()
    state = await graph.ainvoke({"task": "titles"})
    assert state["verdict"] == "error"
    assert state["error"]["kind"] == "model"
    assert "no route to host" in state["error"]["message"]
    assert (state["attempts"], office.ledger, office.reads) == ([], [], [])


async def test_an_answer_of_nothing_that_the_repaired_program_confirms_is_ok() -> None:
    nothing = "async def main():\n    r = await tools['search'](query='tea')\n    return [h for h in r['results'] if h['url'] == '']"
    state = await compiled(nothing, nothing).ainvoke({"task": "links"})
    assert (state["verdict"], state["output"]) == ("ok", [])
    assert [attempt["verdict"] for attempt in state["attempts"]] == ["empty", "ok"]


async def test_an_answer_of_nothing_is_ok_where_the_tools_found_nothing() -> None:
    nothing = "async def main():\n    return await tools['list_events'](calendar_id='home')"
    state = await compiled(nothing).ainvoke({"task": "events at home"})
    assert (state["verdict"], len(state["attempts"])) == ("ok", 1)


async def test_a_caught_tool_error_is_the_programs_own_business() -> None:
    caught = "async def main():\n    try:\n        return await tools['price'](item='plum')\n    except LookupError:\n        return 'none'"
    state = await compiled(caught).ainvoke({"task": "price"})
    assert (state["verdict"], state["output"], len(state["attempts"])) == ("ok", "none", 1)


async def test_the_same_error_twice_changes_what_is_asked_for() -> None:
    model = scripted("1 / 0", "2 / 0", "3")
    state = await create_codemode(model=model, tools=Office().tools).compile().ainvoke({"task": "x"})
    assert state["output"] == 3
    assert "in a different way" not in model.prompts[1]
    assert "in a different way" in model.prompts[2]


async def test_a_program_that_comes_back_unchanged_is_not_run_again() -> None:
    office = Office()
    mail = "async def main():\n    await tools['send_mail'](to='a@x.org', subject='s')\n    return {}['x']"
    graph = create_codemode(model=scripted(mail), tools=office.tools).compile()
    state = await graph.ainvoke({"task": "x"})
    assert state["verdict"] == "exhausted"
    assert [a["sandbox"] for a in state["attempts"]] == ["monty", None, None]
    assert len(office.ledger) == 1


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        (
            ["1 / 0", "tools.nothing()", "int('x')"],
            "invalid literal for int() with base 10: 'x' (before that attempt 1: line 1: ZeroDivisionError: division by zero;"
            " attempt 2: line 1: there is no tool 'nothing'; ",
        ),
        (
            ["1 / 0", "int('x')", "tools.nothing()"],
            " (before that attempt 1: line 1: ZeroDivisionError: division by zero; ",
        ),
        (["1 / 0", "0 + 1 / 0", "1 + 1 / 0"], "division by zero (before that attempts 1, 2: the same)"),
        (["int('x')", "1 / 0", "1 / 0"], "division by zero (then this is the program that already failed, unchanged"),
    ],
)
async def test_the_end_of_all_attempts_says_what_each_failed_of(programs: list[str], message: str) -> None:
    state = await create_codemode(model=scripted(*programs), tools=Office().tools).compile().ainvoke({"task": "x"})

    assert state["verdict"] == "exhausted"
    assert message in state["error"]["message"]
    assert len(state["error"]["message"]) < 1_000
    # An attempt has its own failure alone.
    assert not any("before that" in (attempt["failure"] or {}).get("message", "") for attempt in state["attempts"])


def test_what_is_configured_wrongly_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match="nosuch"):
        create_codemode(model="nosuch:model", tools=[])
    with pytest.raises(ToolLoadError):
        create_codemode(model=None, tools=[42])
    with pytest.raises(ValueError, match="no sandbox is named 'mnty'; did you mean 'monty'"):
        create_codemode(model=None, tools=[], sandbox="mnty")


def test_the_state_survives_strict_serialisation() -> None:
    script = (
        "from tests.graph.test_graph import *\n"
        "graph = compiled(WRONG, PROGRAM, checkpointer=InMemorySaver())\n"
        "config = {'configurable': {'thread_id': 't'}}\n"
        "assert graph.invoke({'task': 'titles'}, config)['output'] == TITLES\n"
        "assert graph.get_state(config).values['tool_calls'][0]['status'] == 'done'\n"
    )
    root = Path(__file__).parents[2]
    environment = {"LANGGRAPH_STRICT_MSGPACK": "true", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("sandbox", ["monty", "auto"])
def test_a_graph_that_nobody_holds_frees_its_sandbox(sandbox: str) -> None:
    """Whoever calls `asyncio.run` again and again has no event loop in which the processes could be ended."""
    graph = create_codemode(model=None, tools=Office().tools, sandbox=sandbox).compile()
    held = weakref.ref(graph)
    asyncio.run(graph.ainvoke({"task": "", "code": PROGRAM}))
    del graph
    gc.collect()
    assert held() is None
