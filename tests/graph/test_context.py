"""Knobs that come with a run: by the graph's own context, or by that of a graph in which code mode is a node."""

from dataclasses import dataclass
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

from codemode_graph import ConfigurationError, Context, Prices, create_codemode
from codemode_graph.state import CodeModeOutput
from tests.e2e.office import Office
from tests.support import scripted

PROGRAM = "async def main():\n    return [e['title'] for e in await tools['list_events'](calendar_id='work')]"
WRONG = [PROGRAM.replace("'title'", name) for name in ("'name'", "'nom'", "'Name'")]


class State(CodeModeOutput, total=False):
    task: str


@dataclass
class AsDataclass:
    user: str = "ann"
    max_attempts: int | None = None
    max_tokens: int | None = None


class AsModel(BaseModel):
    user: str = "ann"
    max_attempts: int | None = None
    max_tokens: int | None = None


class AsDict(TypedDict, total=False):
    user: str
    max_attempts: int
    max_tokens: int


class AsOurs(Context):
    user: str = "ann"


@dataclass
class Other:
    user: str = "ann"


KINDS: list[Any] = [AsDataclass, AsModel, AsDict, AsOurs]


async def attempts(schema: Any, context: Any, **options: Any) -> int:
    inner = create_codemode(model=scripted(*WRONG, PROGRAM), tools=Office().tools, **options).compile()
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(State, schema)
    graph.add_node("codemode", inner)
    graph.add_edge(START, "codemode")
    state = await graph.compile().ainvoke({"task": "titles"}, context=context)
    return len(state["attempts"])


@pytest.mark.parametrize("schema", KINDS)
async def test_a_parents_context_sets_knobs(schema: Any) -> None:
    assert await attempts(schema, schema(max_attempts=1)) == 1
    assert await attempts(schema, {"max_attempts": 2}) == 2
    assert await attempts(schema, {"max_tokens": 1}) == 1


@pytest.mark.parametrize("schema", [*KINDS, Other])
async def test_what_a_parents_context_leaves_out_is_the_graphs(schema: Any) -> None:
    assert await attempts(schema, schema(user="bob"), max_attempts=2) == 2
    assert await attempts(schema, None, max_attempts=2) == 2


@pytest.mark.parametrize("context", [{"max_attempts": 1, "user": "ann"}, {"user": "ann"}])
async def test_a_parent_without_a_schema_may_bring_a_context(context: dict[str, Any]) -> None:
    assert await attempts(None, context, max_attempts=2) == context.get("max_attempts", 2)


@pytest.mark.parametrize("schema", [AsDataclass, AsModel, AsDict, None])
@pytest.mark.parametrize("wrong", [0, "lots"])
async def test_a_wrong_knob_of_a_parent_is_an_error(schema: Any, wrong: object) -> None:
    knobs = {"max_attempts": wrong} if schema is not AsModel else AsModel.model_construct(max_attempts=wrong)
    with pytest.raises(ConfigurationError, match=r"context\.max_attempts: Input should be"):
        await attempts(schema, knobs)


async def test_a_cost_needs_prices() -> None:
    class Costly(TypedDict):
        max_cost: float

    with pytest.raises(ConfigurationError, match="max_cost needs a graph with prices"):
        await attempts(Costly, {"max_cost": 1.0})
    assert await attempts(Costly, {"max_cost": 1e-9}, prices=Prices(input=1, output=1)) == 1


async def test_no_limit_at_all_has_to_be_said() -> None:
    assert await attempts(AsDataclass, AsDataclass(max_tokens=None), max_tokens=1) == 1
    assert await attempts(AsDict, {"max_tokens": None}, max_tokens=1) == 3
