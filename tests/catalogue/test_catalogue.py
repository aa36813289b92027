"""A run with more tools than a prompt can show."""

from typing import Any

import pytest
from pydantic import BaseModel

from codemode_graph import Context, ToolLoadError, codemode, create_codemode
from codemode_graph.catalogue import Catalogue
from codemode_graph.tools.cards import estimate_tokens
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.spec import ToolSpec
from tests.support import scripted


async def read(arguments: dict[str, Any], config: Any) -> Any:
    return {"found": sorted(arguments.items())}


def make(number: int) -> ToolSpec:
    schema = {"type": "object", "properties": {"id": {"type": "integer", "description": f"Number of gadget {number}."}}}
    return ToolSpec(
        name=f"shop/get_gadget_{number}",
        description=f"Read gadget {number}.",
        input_schema=schema,
        effect="read",
        call=read,
    )


WEATHER = ToolSpec(name="sky/forecast", description="Tell the weather of tomorrow.", effect="read", call=read)
MANY = [*(make(number) for number in range(300)), WEATHER]
LOOK = "return [tool['name'] for tool in await search_tools('weather forecast', limit=3)]"
ANSWER = "return await tools['sky/forecast']()"


def program(body: str) -> str:
    return f"async def main():\n    {body}"


async def test_few_tools_are_all_shown() -> None:
    assert not Catalogue(load_tools(MANY[:5])).is_searched
    graph = create_codemode(model=None, tools=MANY[:5])
    assert "discover" not in graph.nodes


async def test_a_prompt_shows_the_cards_that_fit_and_a_program_can_call_any_tool() -> None:
    model = scripted(program(ANSWER))
    graph = create_codemode(model=model, tools=MANY, card_tokens=2_000).compile()
    state = await graph.ainvoke({"task": "What will the weather be?"})
    assert (state["verdict"], state["output"]) == ("ok", {"found": []})
    shown = model.asked[0][-1].text
    assert "await tools['sky/forecast']()" in shown
    assert "- shop, 300 tools" in shown
    assert estimate_tokens(shown) < 2_500
    assert "get_gadget_76" not in shown


async def test_a_program_that_only_looks_is_no_attempt_and_what_it_found_is_shown() -> None:
    model = scripted(program(LOOK), program(ANSWER))
    graph = create_codemode(model=model, tools=MANY, card_tokens=2_000).compile()
    state = await graph.ainvoke({"task": "Is an umbrella of use?"}, context=Context(max_attempts=1))
    assert [attempt["verdict"] for attempt in state["attempts"]] == ["looked", "ok"]
    assert state["output"] == {"found": []}
    first, second = (asked[-1].text for asked in model.asked)
    assert "sky/forecast']" not in first
    assert "sky/forecast']" in second
    assert "did nothing but look for tools" in model.prompts[1]
    # A provider has the beginning of the conversation from before: what is new stands behind the task.
    assert first.partition("\n\n# Task\n\n")[0] == second.partition("\n\n# Task\n\n")[0]


async def test_a_repair_after_an_error_has_the_cards_that_a_look_found() -> None:
    model = scripted(program(LOOK), program("return 1 / 0"), program(ANSWER))
    graph = create_codemode(model=model, tools=MANY, card_tokens=2_000).compile()
    assert (await graph.ainvoke({"task": "Is an umbrella of use?"}))["output"] == {"found": []}
    assert "await tools['sky/forecast']()" in model.prompts[2]
    plain = scripted(program("return 1 / 0"), program(ANSWER))
    graph = create_codemode(model=plain, tools=MANY, card_tokens=2_000).compile()
    await graph.ainvoke({"task": "What will the weather be?"})
    assert "# More tools" not in plain.prompts[1]


@pytest.mark.parametrize(
    ("limit", "result"),
    [
        (0, None),
        (-3, None),
        (2.5, None),
        ("float('nan')", None),
        (10**9, 50),
        (10**30, 50),
        (3, 3),
        (3.0, 3),
        ("None", 8),
    ],
)
async def test_a_search_for_less_than_one_tool_is_an_error_and_no_empty_answer(limit: Any, result: int | None) -> None:
    async with codemode(tools=MANY, card_tokens=2_000) as cm:
        done = await cm.run_code(f"len(await search_tools('gadget', limit={limit}))")
    if result is None:
        assert "limit is a whole number from 1 to 50, not " in str(done["error"])
    else:
        assert done.value == result


def test_the_tools_of_a_task_are_searched_once_whatever_calls_have_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue(MANY, tokens=2_000)
    found = catalogue.find("tell the weather")
    monkeypatch.setattr(catalogue.index, "search", lambda *_, **__: pytest.fail("searched again"))
    schema = {"type": "object", "properties": {"rain": {"type": "boolean"}}, "required": ["rain"]}
    seen = catalogue.with_observed({"sky/forecast": schema})
    assert found == catalogue.find("tell the weather")
    assert [spec.observed_schema for spec in seen.find("tell the weather") if spec.name == "sky/forecast"] == [schema]
    assert "seen: {rain: bool}" in seen.text("tell the weather")
    assert "seen:" not in catalogue.text("tell the weather")


async def test_a_model_that_looks_for_ever_is_taken_at_its_word() -> None:
    looks = [program(LOOK.replace("limit=3", f"limit={n}")) for n in range(1, 9)]
    graph = create_codemode(model=scripted(*looks), tools=MANY, card_tokens=2_000).compile()
    state = await graph.ainvoke({"task": "Which tools tell the weather?"})
    assert [attempt["verdict"] for attempt in state["attempts"]] == ["looked", "looked", "ok"]
    assert state["output"] == ["sky/forecast"]


async def test_a_look_need_not_be_of_the_type_of_the_answer() -> None:
    class Sky(BaseModel):
        found: list[Any]

    async with codemode(tools=MANY, code_model=scripted(program(LOOK), program(ANSWER)), card_tokens=2_000) as cm:
        result = await cm.run("Is an umbrella of use?", returns=Sky)
    assert result.value == Sky(found=[])


async def test_a_program_reads_cards_of_tools() -> None:
    code = program(
        "found = await search_tools('gadget 7')\n    return [found[0]['name'], await describe_tool('shop/get_gadget_7')]"
    )
    async with codemode(tools=MANY, card_tokens=2_000) as cm:
        result = await cm.run_code(code)
        wrong = await cm.run_code(program("return await describe_tool('sky/forecasts')"))
    assert result["success"], result["error"]
    assert result.value[0] == "shop/get_gadget_7"
    assert "Number of gadget 7." in result.value[1]
    assert "did you mean 'sky/forecast'?" in str(wrong["error"])


async def test_the_check_knows_tools_that_the_prompt_does_not_show() -> None:
    async with codemode(tools=MANY, card_tokens=2_000) as cm:
        result = await cm.run_code(program("return await tools['shop/get_gadget_77'](nr=1)"))
    assert not result["success"]
    assert "nr" in str(result["error"])


def test_a_task_of_two_steps_finds_tools_for_both() -> None:
    catalogue = Catalogue(load_tools(MANY), tokens=2_000)
    found = [spec.name for spec in catalogue.find("Read gadget 12, gadget 13 and gadget 14, and tell the weather")]
    assert {"shop/get_gadget_12", "sky/forecast"} <= set(found)


def test_the_list_of_places_is_bounded() -> None:
    specs = [
        ToolSpec(name=f"place{number}/{'x' * 80}_{n}", call=read, effect="read")
        for number in range(500)
        for n in range(3)
    ]
    assert estimate_tokens(Catalogue(load_tools(specs)).text()) < 1_500


def test_a_tool_of_the_name_of_a_search_is_refused_with_a_way_out() -> None:
    tools = [*MANY, ToolSpec(name="search_tools", call=read, effect="read")]
    with pytest.raises(ToolLoadError, match="card_tokens=None"):
        create_codemode(model=None, tools=tools, card_tokens=2_000)
    create_codemode(model=None, tools=tools, card_tokens=None)
