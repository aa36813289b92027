import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import _ExecutionRuntime, _ReadRuntime

from codemode_graph import ConfigurationError
from graphs.codemode import make_graph
from tests.servers import children

ROOT = Path(__file__).parents[2]


async def test_the_served_graph_runs_on_real_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CODEMODE_MCP", raising=False)
    monkeypatch.delenv("CODEMODE_MODEL", raising=False)
    async with make_graph() as graph:
        state = await graph.ainvoke({"task": "", "code": "len(await tools['list-orders'](status='unpaid'))"})
    assert state["output"] == 5


def test_langgraph_json_names_what_there_is() -> None:
    for graph in json.loads((ROOT / "langgraph.json").read_text())["graphs"].values():
        path, _, name = graph["path"].partition(":")
        assert f"def {name}(" in (ROOT / path).read_text()


@pytest.mark.parametrize("graph", ["codemode", "agent", "composed"])
async def test_a_graph_for_reading_starts_nothing_and_has_the_nodes_of_the_others(
    monkeypatch: pytest.MonkeyPatch, graph: str
) -> None:
    monkeypatch.delenv("CODEMODE_MCP", raising=False)
    monkeypatch.delenv("CODEMODE_MODEL", raising=False)
    make_graph = import_module(f"graphs.{graph}").make_graph
    async with make_graph() as app:
        nodes, edges = app.get_graph().nodes, app.get_graph().edges
    before = children()
    monkeypatch.setenv("CODEMODE_MCP", "/nowhere/servers.json")
    monkeypatch.setenv("CODEMODE_MODEL", "nobody:nothing")
    monkeypatch.setenv("CODEMODE_TOOLS", "nowhere:TOOLS")
    for context in ("assistants.read", "threads.read", "threads.update"):
        async with make_graph(_ReadRuntime(access_context=context, store=InMemoryStore())) as app:
            assert set(app.get_graph().nodes) == set(nodes)
            assert set(app.get_graph().edges) == set(edges)
    assert children() <= before
    run: Any = _ExecutionRuntime(access_context="threads.create_run", store=InMemoryStore())
    with pytest.raises(ConfigurationError, match="'nowhere:TOOLS' cannot be imported"):
        async with make_graph(run):
            pass


@pytest.mark.parametrize("graph", ["agent", "composed"])
async def test_a_graph_without_a_model_can_be_looked_at_and_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, graph: str
) -> None:
    monkeypatch.delenv("CODEMODE_MODEL", raising=False)
    async with import_module(f"graphs.{graph}").make_graph() as app:
        assert len(app.get_graph().nodes) > 3
        with pytest.raises(ConfigurationError, match="set CODEMODE_MODEL"):
            await app.ainvoke({"messages": [{"role": "user", "content": "hello"}]})
