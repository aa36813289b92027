from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, BaseToolkit
from langchain_core.tools import tool as lc_tool
from langgraph.prebuilt import ToolRuntime

from codemode_graph.errors import ConfigurationError, ToolLoadError
from codemode_graph.tools import tool
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.spec import ToolPolicy, ToolSpec

Make = Callable[..., ToolSpec]


def search(q: str) -> str:
    return f"function {q}"


@lc_tool("search")
def lc_search(q: str) -> str:
    """Searches."""
    return f"langchain {q}"


@tool(effect="read", timeout=3)
def fetch() -> None: ...


class Kit(BaseToolkit):
    def get_tools(self) -> list[BaseTool]:
        return [lc_search]


def names(tools: Any) -> list[str]:
    return [spec.name for spec in load_tools(tools)]


def test_tools_come_in_many_forms(make: Make) -> None:
    spec = make("a-b")
    loader = SimpleNamespace(tools=(spec,))
    assert names([search, fetch, spec]) == ["search", "fetch", "a-b"]
    assert names(f for f in [search, fetch]) == ["search", "fetch"]
    assert names([loader, [search, {"x": fetch}]]) == ["a-b", "search", "x"]
    assert names(loader) == ["a-b"]
    assert names(Kit()) == ["search"]
    assert names([]) == names({}) == []


async def test_a_dict_names_its_tools(make: Make) -> None:
    tools = load_tools({"find": search, "find-too": lc_search, "it": make("a"), "kit": Kit(), "more": [fetch]})
    assert [spec.name for spec in tools] == ["find", "find-too", "it", "kit.search", "more.fetch"]
    assert await tools[1].call({"q": "x"}, {}) == "langchain x"


async def test_different_tools_of_one_name_can_all_be_called(make: Make) -> None:
    def again() -> Callable[..., Any]:
        def search(q: str) -> str:
            return f"again {q}"

        return search

    mcp = make("search", source="mcp:my files")
    tools = load_tools([search, lc_search, again(), mcp, lc_search, search])
    assert [spec.name for spec in tools] == ["search", "search_langchain", "search_2", "search_mcp_my_files"]
    assert [await spec.call({"q": "x"}, {}) for spec in tools[:3]] == ["function x", "langchain x", "again x"]


async def test_a_function_that_wants_injection_gets_it() -> None:
    @tool(effect="read", timeout=2)
    def where(key: str, runtime: ToolRuntime) -> list[Any]:
        """Where."""
        return [key, runtime.state]

    (spec,) = load_tools([where])
    assert (spec.name, spec.effect, spec.policy.timeout, spec.source) == ("where", "read", 2, "function")
    assert list(spec.input_schema["properties"]) == ["key"]
    assert await spec.call({"key": "a"}, {}) == ["a", {}]


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([3], "3 is no tool: a tool is a function, a LangChain tool or a ToolSpec"),
        ("search", "'search' is no tool"),
        ([None], "None is no tool"),
        ({1: search}, "a dict of tools has their names as keys, not 1"),
        ({"": search}, "a tool has no name"),
        ([BaseTool], "BaseTool is a class: give an instance of it"),
        (FakeListChatModel(responses=[]), "FakeListChatModel is a model, not a tool: give it as the model"),
        ([RunnableLambda(search)], "RunnableLambda is a Runnable, not a tool: give its .as_tool("),
        ([{"type": "function", "function": {"name": "x"}}], "'function' is no tool"),
        (SimpleNamespace(tools=3), "3 are no tools"),
    ],
)
def test_what_is_no_tool_is_refused_with_what_is(tools: Any, message: str) -> None:
    with pytest.raises(ToolLoadError) as caught:
        load_tools(tools)
    assert str(caught.value).startswith(message)


def test_policies_apply_by_pattern_and_then_by_name(make: Make) -> None:
    tools = [make("delete_a"), make("delete_b"), make("get"), make("odd[1]"), fetch]
    policies = {
        "delete_b": ToolPolicy(timeout=9),
        "delete_*": ToolPolicy(effect="destructive", timeout=5),
        "odd[1]": ToolPolicy(effect="read"),
        "nothing_*": ToolPolicy(effect="read"),
        "f*": ToolPolicy(effect="idempotent"),
    }
    loaded = {spec.name: (spec.policy.effect, spec.policy.timeout) for spec in load_tools(tools, policies=policies)}
    assert loaded == {
        "delete_a": ("destructive", 5),
        "delete_b": ("destructive", 9),
        "get": (None, None),
        "odd[1]": ("read", None),
        "fetch": ("idempotent", 3),
    }


def test_policies_apply_by_effect_before_patterns_and_names(make: Make) -> None:
    tools = [make("drop_a"), make("drop_b"), make("wipe"), make("get"), make("put"), make("effect:write")]
    policies = {
        "drop_b": ToolPolicy(approval=False),
        "effect:destructive": ToolPolicy(approval=True, timeout=7),
        "effect:read": ToolPolicy(cache=True),
        "drop_*": ToolPolicy(effect="destructive", timeout=5),
        "wipe": ToolPolicy(effect="destructive"),
        "get": ToolPolicy(effect="read"),
        "effect:write": ToolPolicy(timeout=1),
    }
    loaded = {spec.name: spec.policy for spec in load_tools(tools, policies=policies)}
    assert {name: (policy.approval, policy.timeout, policy.cache) for name, policy in loaded.items()} == {
        "drop_a": (True, 5, False),
        "drop_b": (False, 5, False),
        "wipe": (True, 7, False),
        "get": (None, None, True),
        "put": (None, None, False),
        "effect:write": (None, 1, False),
    }


def test_a_policy_covers_every_tool_of_its_name_however_it_is_renamed(make: Make) -> None:
    tools = [make("pay", source="a"), make("pay", source="a"), make("pay", source="mcp:b"), {"refund": make("undo")}]
    policies = {
        "pay": ToolPolicy(approval=True, timeout=5),
        "pay_2": ToolPolicy(timeout=9),
        "undo": ToolPolicy(approval=True),
        "un*": ToolPolicy(timeout=1),
    }
    specs = load_tools(tools, policies=policies)
    assert {spec.name: (spec.policy.approval, spec.policy.timeout) for spec in specs} == {
        "pay": (True, 5),
        "pay_2": (True, 9),
        "pay_mcp_b": (True, 5),
        "refund": (True, 1),
    }


def test_a_policy_covers_functions_by_their_own_name(make: Make) -> None:
    tools = {"find": search, "get": fetch, "old": [lc_search]}
    policies = {"search": ToolPolicy(timeout=5), "fetch": ToolPolicy(timeout=6), "old.search": ToolPolicy(retries=2)}
    policies_by_name = {spec.name: spec.policy for spec in load_tools(tools, policies=policies)}
    assert policies_by_name == {
        "find": ToolPolicy(timeout=5),
        "get": ToolPolicy(timeout=6),
        "old.search": ToolPolicy(timeout=5, retries=2),
    }


def test_the_effect_that_a_tool_declares_itself_is_one_to_have_a_policy_for(make: Make) -> None:
    deletes = replace(make("deletes"), effect="destructive")
    (spec,) = load_tools([deletes], policies={"effect:destructive": ToolPolicy(approval=True)})
    assert spec.policy.approval is True


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ({"effect:delete": ToolPolicy()}, "'effect:delete'; the effects are read, idempotent, write, destructive"),
        ({"effect:write": ToolPolicy(effect="read")}, "cannot change the effect by which it was chosen"),
    ],
)
def test_a_policy_for_an_effect_names_one_and_keeps_it(policies: dict[str, ToolPolicy], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_tools([search], policies=policies)


def test_a_policy_for_no_tool_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ConfigurationError, match="policies name 'serch', and there is no such tool; did you mean 'search'"
    ):
        load_tools([search], policies={"serch": ToolPolicy()})
    with pytest.raises(ConfigurationError, match="the tools are fetch, search"):
        load_tools([search, fetch], policies={"xyz": ToolPolicy()})
