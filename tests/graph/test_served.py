import json
from importlib import import_module
from pathlib import Path

import pytest

from codemode_graph import ConfigurationError
from graphs.codemode import make_graph

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


@pytest.mark.parametrize("graph", ["agent", "composed"])
async def test_a_graph_without_a_model_can_be_looked_at_and_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, graph: str
) -> None:
    monkeypatch.delenv("CODEMODE_MODEL", raising=False)
    async with import_module(f"graphs.{graph}").make_graph() as app:
        assert len(app.get_graph().nodes) > 3
        with pytest.raises(ConfigurationError, match="set CODEMODE_MODEL"):
            await app.ainvoke({"messages": [{"role": "user", "content": "hello"}]})
