"""A declared answer: shown to the model, checked, validated, repaired without repeating effects, and given as an object."""

import json
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, assert_type

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from typing_extensions import TypedDict

from codemode_graph import (
    CodeModeMiddleware,
    ConfigurationError,
    Context,
    NoAnswer,
    ToolPolicy,
    codemode,
    create_codemode,
)
from codemode_graph.errors import UnknownRun
from codemode_graph.integrations.agent import create_agent, create_codemode_tool
from codemode_graph.result import RunResult
from codemode_graph.tools import tool
from tests.support import ScriptedModel, scripted


class Line(BaseModel):
    item: str
    price: float = Field(ge=0, description="In euros, VAT included.")


class Invoice(BaseModel):
    number: str
    lines: list[Line]
    total: float

    @model_validator(mode="after")
    def adds_up(self) -> "Invoice":
        if abs(sum(line.price for line in self.lines) - self.total) > 0.001:
            raise ValueError("the lines do not add up to the total")
        return self


class Row(TypedDict):
    name: str
    count: int


@dataclass
class Point:
    x: float
    y: float = 0.0


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Shop:
    """The payments that were made."""

    def __init__(self) -> None:
        self.paid: list[float] = []

    @property
    def tools(self) -> list[Any]:
        @tool(effect="write")
        def pay(amount: float) -> Any:
            """Pay an amount."""
            self.paid.append(amount)
            return {"number": f"R{len(self.paid)}", "amount": amount}

        return [pay]


PAY = "async def main():\n    r = await tools.pay(5)\n    return {}"
RIGHT = PAY.format("{'number': r['number'], 'lines': [{'item': 'tea', 'price': r['amount']}], 'total': 5}")
WRONG = PAY.format("{'number': r['number'], 'lines': r, 'total': 5}")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


async def test_a_wrong_value_is_repaired_without_paying_twice_and_given_as_an_object() -> None:
    shop, model = Shop(), scripted(WRONG, RIGHT)
    async with codemode(tools=shop.tools, model=model) as cm:
        result = await cm.run("Pay 5.", returns=Invoice)
    assert_type(result, RunResult[Invoice])
    assert result.value == Invoice(number="R1", lines=[Line(item="tea", price=5)], total=5)
    assert result["output"] == result.value.model_dump()
    assert shop.paid == [5]
    first = result["attempts"][0]
    assert (first["verdict"], first["failure"] and first["failure"]["kind"]) == ("error", "returns")
    assert first["output"] == {"number": "R1", "lines": {"number": "R1", "amount": 5}, "total": 5}
    ask, repair = model.prompts
    for text in (ask, repair):
        assert "    Invoice = {number: str, lines: list[Line], total: float}\n" in text
        assert "        price: In euros, VAT included." in text
    assert "the answer['lines'] is {number: str, amount: float}, but must be of type array" in repair
    assert "Keep these calls in your program" in repair


async def test_without_a_type_nothing_changes() -> None:
    models = [scripted("await tools.pay(5)") for _ in range(2)]
    one, other = (codemode(tools=Shop().tools, model=model) for model in models)
    with_none, without = await one.run("Pay 5.", returns=None), await other.run("Pay 5.")
    assert [message.text for message in models[0].asked[0]] == [message.text for message in models[1].asked[0]]
    assert models[0].prompts == ["Pay 5."]
    assert_type(without.value, Any)
    assert with_none.value == without.value == without["output"] == {"number": "R1", "amount": 5}


@pytest.mark.parametrize(
    ("returns", "program", "value"),
    [
        (list[str], "['a']", ["a"]),
        (Row, "{'name': 'a', 'count': 2}", {"name": "a", "count": 2}),
        (Point, "{'x': 1}", Point(1)),
        (list[Point] | None, "None", None),
        (dict[str, date], "{'a': '2026-03-01'}", {"a": date(2026, 3, 1)}),
        (Colour, "'red'", Colour.RED),
        (TypeAdapter(set[int]), "[1, 2]", {1, 2}),
        (tuple[int, str], "(1, 'a')", (1, "a")),
        (bool, "1 < 2", True),
        (Any, "[1]", [1]),
        (SCHEMA, "{'n': 3}", {"n": 3}),
        ({}, "'x'", "x"),
    ],
)
async def test_any_type_of_pydantic_or_a_schema_is_taken(returns: Any, program: str, value: Any) -> None:
    async with codemode(tools=[], sandbox="monty") as cm:
        result = await cm.run_code(program, returns=returns)
        assert result["error"] is None
        assert result.value == value
        assert type(result.value) is type(value)


@pytest.mark.parametrize(
    ("returns", "program", "words"),
    [
        (list[str], "import json\njson.loads('[1]')", "the answer[0] is int, but must be of type string"),
        (float, "import json\njson.loads('\"1\"')", "the answer is str, but must be of type number"),
        (float, "import json\njson.loads('true')", "the answer is bool, but must be of type number"),
        (Row, 'import json\njson.loads(\'{"name": "a"}\')', "'count' is a required property; it has 'name'"),
        (date, "import json\njson.loads('\"soon\"')", "'soon' is not a 'date'"),
        ({"type": "string", "format": "date"}, "import json\njson.loads('\"soon\"')", "'soon' is not a 'date'"),
        (SCHEMA, 'import json\njson.loads(\'{"n": 1, "m": 2}\')', "('m' was unexpected)"),
        (Colour, "import json\njson.loads('\"green\"')", "'green' is not one of ['red', 'blue']"),
        (Point | None, 'import json\njson.loads(\'{"x": "a"}\')', "the answer['x'] is str, but must be of type number"),
        ({"$ref": "#"}, "import json\njson.loads('1')", "refers to itself without end"),
    ],
)
async def test_a_value_of_another_type_is_no_answer(returns: Any, program: str, words: str) -> None:
    async with codemode(tools=[], sandbox="monty") as cm:
        result = await cm.run_code(program, returns=returns)
        assert (result["success"], result["output"]) == (False, None)
        assert words in str(result["error"])
        with pytest.raises(NoAnswer, match="is not of the type that is asked for"):
            _ = result.value
        mended = await cm.run_code("import json\njson.loads('[\"a\"]')", after=result["run_id"])
        assert mended["success"] is (returns == list[str])


async def test_an_answer_that_is_written_out_is_validated_before_anything_runs() -> None:
    paid: list[int] = []

    def pay(amount: int) -> None:
        """Pay."""
        paid.append(amount)

    even = Annotated[int, AfterValidator(_even)]
    async with codemode(tools=[pay], sandbox="monty") as cm:
        for returns, value, words in [
            (int, "5.5", "must be of type integer"),
            (even, "3", "Value error, it is odd (got 3)"),
            (set[int], "[1, 1]", "has non-unique elements"),
            (dict[int, str], "{'x': 'a'}", "x.[key]"),
            (date, "'2020-13-01'", "is not a 'date'"),
            (Annotated[int, Field(le=10)], "11", "greater than the maximum of 10"),
            (SCHEMA, "{'n': 1, 'm': 2}", "('m' was unexpected)"),
            ({"const": [1]}, "[2]", "[1] was expected"),
            (str, "b'a'", "bytes are not JSON"),
        ]:
            whole = f"async def main():\n    await tools.pay(1)\n    return {value}"
            for program in (f"await tools.pay(1)\n{value}", whole):
                result = await cm.run_code(program, returns=returns)
                assert words in str(result["error"])
        assert paid == []
        assert (await cm.run_code("await tools.pay(1)\n{1: 'a'}", returns=dict[int, str])).value == {1: "a"}


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("it is odd")
    return value


@pytest.mark.parametrize(
    ("returns", "words"),
    [
        ({"type": "text"}, "returns['type'] is no JSON Schema"),
        ({"type": object}, "returns is no JSON Schema"),
        (lambda: 1, "returns takes a type that pydantic can use"),
        (object(), "returns takes a type that pydantic can use"),
        (Shop, "returns takes a type that pydantic can use"),
    ],
)
async def test_what_is_no_type_is_refused_before_anything_runs(returns: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        codemode(tools=[], returns=returns)
    assert words in str(raised.value)
    async with codemode(tools=[]) as cm:
        with pytest.raises(ConfigurationError, match="returns"):
            await cm.run_code("1", returns=returns)


async def test_a_schema_never_fetches_another() -> None:
    async with codemode(tools=[]) as cm:
        with pytest.raises(ConfigurationError, match="refers to a schema that is not part of it"):
            await cm.run_code("1", returns={"$ref": "http://127.0.0.1:9/schema.json"})


async def test_a_validator_of_the_class_is_repaired_too() -> None:
    wrong = RIGHT.replace("'total': 5", "'total': 6")
    shop, model = Shop(), scripted(wrong, RIGHT)
    async with codemode(tools=shop.tools, model=model) as cm:
        result = await cm.run("Pay 5.", returns=Invoice)
    assert (result.value.total, shop.paid, len(model.asked)) == (5, [5], 2)
    assert "the lines do not add up to the total" in model.prompts[1]


async def test_a_resumed_run_is_held_to_its_type(tmp_path: Path) -> None:
    place, gate = tmp_path / "runs.sqlite", {"pay": ToolPolicy(approval=True)}
    shop, approved = Shop(), [{"type": "approve"}]
    async with codemode(tools=shop.tools, model=scripted(RIGHT, WRONG), durable=place, policies=gate) as cm:
        for run in ("right", "wrong"):
            waiting = await cm.run(f"Pay 5, {run}.", returns=Invoice, run_id=run)
            assert "waits for a person" in str(waiting["error"])
    async with codemode(tools=shop.tools, model=scripted(WRONG), durable=place, policies=gate, max_attempts=1) as cm:
        with pytest.raises(ConfigurationError, match="was begun with another `returns`"):
            await cm.resume("right", returns=Row)
        right = await cm.resume("right", returns=Invoice, decisions=approved)
        assert_type(right, RunResult[Invoice])
        assert right.value.total == 5
        assert (await cm.resume("right")).value == right["output"]
        assert (await cm.run("Pay 5, right.", returns=Invoice, run_id="right")).value == right.value
        with pytest.raises(ConfigurationError, match="another `returns`"):
            await cm.run("Pay 5, right.", returns=Row, run_id="right")
        wrong = await cm.resume("wrong", decisions=approved)
        assert not wrong["success"]
        assert "the answer['lines'] is {number: str, amount: float}, but must be of type array" in str(wrong["error"])
        assert shop.paid == [5, 5]


async def test_a_graph_takes_a_schema_by_input_and_by_context() -> None:
    model = scripted("import json\njson.loads('[1]')")
    graph = create_codemode(model=model, tools=[], max_attempts=1).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    state = await graph.ainvoke({"task": "a", "returns": SCHEMA}, config)
    assert (state["verdict"], state["output"]) == ("exhausted", None)
    assert "    {n: int}" in model.prompts[-1]
    # An input without a type, on the same thread, has none.
    assert (await graph.ainvoke({"task": "b"}, config))["output"] == [1]
    assert model.prompts[-1] == "b"
    assert (await graph.ainvoke({"task": "c"}, config, context=Context(returns=SCHEMA)))["verdict"] == "exhausted"
    assert (await graph.ainvoke({"task": "d", "returns": {"type": "array"}}, config, context=Context(returns=SCHEMA)))[
        "output"
    ] == [1]
    saved = json.dumps((await graph.aget_state(config)).values, default=repr)
    assert "ReturnType" not in saved
    with pytest.raises(ConfigurationError, match="no JSON Schema"):
        await graph.ainvoke({"task": "e", "returns": {"type": 3}}, config)


async def test_the_type_of_a_codemode_is_that_of_its_runs_unless_they_have_one() -> None:
    row = {"name": "a", "count": 1}
    async with codemode(tools=[], returns=Point) as cm:
        failed = await cm.run_code("1 / 0")
        assert (await cm.run_code("{'x': 1}", after=failed["run_id"])).value == Point(1)
        failed = await cm.run_code("1 / 0", returns=Row)
        assert (await cm.run_code(str(row), after=failed["run_id"])).value == row
        failed = await cm.run_code("1 / 0")
        assert not (await cm.resume(str(failed["run_id"])))["success"]


async def test_the_same_task_with_another_type_is_another_run() -> None:
    shop = Shop()
    program = "await tools.pay(5)\nx"  # it fails after it has paid, so that its run stays open
    graph = create_codemode(model=None, tools=shop.tools).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    runs = set()
    for returns in (None, SCHEMA, {"type": "array"}):
        await graph.ainvoke({"task": "a", "code": program, "returns": returns}, config)
        runs.add((await graph.aget_state(config)).values["run_id"])
    assert len(runs) == 3


async def test_a_large_value_is_validated_though_the_state_has_a_reference() -> None:
    program = "['x' * 100 for _ in range(1000)]"
    graph = create_codemode(model=None, tools=[], inline_bytes=1000, returns=list[str]).compile()
    state = await graph.ainvoke({"task": "", "code": program})
    assert state["verdict"] == "ok"
    state = await graph.ainvoke({"task": "", "code": program, "returns": {"type": "array", "maxItems": 3}})
    assert state["verdict"] == "exhausted"
    assert len(state["error"]["message"]) < 1000


def test_callers_without_an_event_loop_and_batches_have_it_too() -> None:
    cm = codemode(tools=[], model=scripted("{'x': 1}"), returns=Row)
    assert_type(cm.run_sync("a", returns=Point), RunResult[Point])
    assert cm.run_sync("a", returns=Point).value == Point(1)
    assert not cm.run_sync("a")["success"]


async def test_a_batch_has_one_type() -> None:
    async with codemode(tools=[], model=scripted("{'x': 1}")) as cm:
        results = await cm.batch_run(["a", "b"], returns=Point)
        assert_type(results, list[RunResult[Point]])
        assert [result.value for result in results] == [Point(1), Point(1)]


async def test_the_tool_of_an_agent_has_it() -> None:
    with_tool = create_codemode_tool([], returns=Row, model=scripted("{'name': 'a'}", "{'name': 'a', 'count': 1}"))
    assert await with_tool.ainvoke({"task": "a"}) == '{"name": "a", "count": 1}'


async def test_an_agent_is_shown_it_and_its_programs_are_held_to_it() -> None:
    from langchain_core.messages import AIMessage

    calls = [
        AIMessage("", tool_calls=[{"name": "run_program", "args": {"code": code}, "id": code, "type": "tool_call"}])
        for code in ("{'name': 'a'}", "{'name': 'a', 'count': 1}")
    ]
    model = _Bound(replies=[*calls, AIMessage("done")])
    agent = create_agent([lambda: 1], llm=model, returns=Row)
    state = await agent.ainvoke({"messages": [("user", "go")]})
    answers = [message.text for message in state["messages"] if message.type == "tool"]
    assert "the answer has no key 'count'" in answers[0]
    assert answers[1] == '{"name": "a", "count": 1}'
    assert "Row = {name: str, count: int}" in model.asked[0][0].text
    assert isinstance(CodeModeMiddleware(returns=SCHEMA), CodeModeMiddleware)


class _Bound(ScriptedModel):
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


async def test_a_strict_model_takes_the_text_of_a_date() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(strict=True)
        day: date

    async with codemode(tools=[]) as cm:
        result = await cm.run_code("{'day': '2026-03-01'}", returns=Strict)
        assert result.value == Strict(day=date(2026, 3, 1))
        with pytest.raises(UnknownRun):
            await cm.resume("no such run", returns=Strict)
