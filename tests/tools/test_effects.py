"""Tools that do not say what they do."""

from typing import Any

import pytest
from langchain_core.tools import tool as langchain_tool
from mcp.types import Tool as McpTool
from mcp.types import ToolAnnotations

from codemode_graph import ToolPolicy, tool
from codemode_graph.errors import ConfigurationError
from codemode_graph.mcp.content import effect_of
from codemode_graph.tools.cards import render_card
from codemode_graph.tools.effects import infer_effect
from codemode_graph.tools.load import load_tools

READS = """
get_issue owner repo issue_number | list-events calendar_id limit start end | search_code query | find-orders query limit |
read_file path | getIssue id | lookUpUser name | look_up word | slack_get_channel_history channel_id | API-get-users |
list_merge_requests project_id state | get_message message_id | fetch url max_length | describe_table table_name |
count_orders since | view_page number | show_order order_id | list_open_pull_requests owner | get_post post_id | has_access user
"""
WRITES = """
read_query query | query_db sql | find_rows sql | search_database query | get data | fetch url method body | run command |
get_or_create name | find_and_replace path | list_add item | mark_read id | get_messages mark_as_read | getset key | pay who |
get_next_job | show_message text | count_words text | shopping_list id | get_paid | browse url | ready | notify_list id | list_update
"""


def schema(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}}


def cases(text: str) -> list[list[str]]:
    return [case.split() for case in text.split("|")]


@pytest.mark.parametrize("case", cases(READS), ids=" ".join)
def test_a_name_and_arguments_that_can_only_mean_a_read(case: list[str]) -> None:
    assert infer_effect(case[0], schema(*case[1:])) == "read"


@pytest.mark.parametrize("case", cases(WRITES), ids=" ".join)
def test_anything_else_counts_as_a_write(case: list[str]) -> None:
    assert infer_effect(case[0], schema(*case[1:])) == "write"


@pytest.mark.parametrize(
    ("argument", "effect"),
    [
        ({"type": "object"}, "write"),
        ({"type": "object", "additionalProperties": True}, "write"),
        ({"type": "object", "properties": {"state": {"type": "string"}}}, "read"),
        ({"type": "object", "properties": {"sql": {"type": "string"}}}, "write"),
        ({"type": "array", "items": {"type": "object"}}, "write"),
        ({"type": "array", "items": {"type": "string"}}, "read"),
        ({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Filter"}]}, "write"),
        ({"$ref": "#/$defs/State"}, "read"),
    ],
)
def test_objects_are_looked_into(argument: dict[str, Any], effect: str) -> None:
    definitions = {
        "Filter": {"type": "object", "properties": {"command": {}}},
        "State": {"enum": ["open", "closed"]},
    }
    assert infer_effect("get_x", {**schema(), "properties": {"filter": argument}, "$defs": definitions}) == effect
    assert infer_effect("get_x", {"type": "object", "additionalProperties": True}) == "write"


def test_a_schema_that_branches_without_end_ends() -> None:
    branch = {"anyOf": [{"$ref": "#"}] * 40, "properties": {"a": {"$ref": "#"}}}
    assert infer_effect("get_x", branch) == "write"


def get_total(customer: str) -> int:
    """Get what a customer owes."""
    return 5


def pay(customer: str) -> int:
    """Pay."""
    return 5


@tool(effect="write")
def get_ticket() -> int:
    """Draw a ticket."""
    return 1


@pytest.mark.parametrize("form", [lambda function: function, langchain_tool])
def test_what_is_taken_for_what_is_shown(form: Any) -> None:
    looks, pays = load_tools([form(get_total), form(pay)])
    assert [(spec.effect_in_force, spec.declared, spec.undeclared) for spec in (looks, pays)] == [
        ("read", False, True),
        ("write", False, True),
    ]
    assert "[effect not declared]" in render_card(looks)
    assert "[effect not declared]" in render_card(pays)


def test_a_tool_or_a_policy_that_says_it_is_believed() -> None:
    (ticket,) = load_tools([get_ticket])
    assert (ticket.effect, ticket.undeclared) == ("write", False)
    (total,) = load_tools([get_total], policies={"get_*": ToolPolicy(effect="write")})
    assert (total.effect_in_force, total.undeclared) == ("write", False)
    assert "[write]" in render_card(total)


def test_a_new_name_makes_no_read_of_a_tool() -> None:
    (spec,) = load_tools({"get_money": pay})
    assert (spec.name, spec.effect) == ("get_money", "write")


def test_a_policy_may_be_for_all_tools_that_say_nothing() -> None:
    tools = [get_total, pay, get_ticket]
    policies = {"effect:undeclared": ToolPolicy(effect="write"), "effect:write": ToolPolicy(approval=True)}
    assert [spec.effect_in_force for spec in load_tools(tools, policies=policies)] == ["write"] * 3
    assert all(spec.policy.approval for spec in load_tools(tools, policies=policies))
    asked = load_tools(
        tools, policies={"effect:undeclared": ToolPolicy(approval=True), "pay": ToolPolicy(effect="read")}
    )
    assert [spec.policy.approval for spec in asked] == [True, None, None]
    # A read by its name is a read to the policies for reads.
    (total, *_) = load_tools(tools, policies={"effect:read": ToolPolicy(cache=True)})
    assert total.policy.cache
    with pytest.raises(ConfigurationError, match="destructive, undeclared"):
        load_tools(tools, policies={"effect:silent": ToolPolicy()})


@pytest.mark.parametrize(
    ("annotations", "effect"),
    [
        (None, None),
        (ToolAnnotations(title="Get", openWorldHint=True), None),
        (ToolAnnotations(readOnlyHint=True), "read"),
        (ToolAnnotations(readOnlyHint=False), "write"),
        (ToolAnnotations(destructiveHint=False), "write"),
    ],
)
def test_a_hint_of_an_mcp_server_is_a_declaration(annotations: ToolAnnotations | None, effect: str | None) -> None:
    assert effect_of(McpTool(name="get_x", inputSchema={"type": "object"}, annotations=annotations)) == effect
