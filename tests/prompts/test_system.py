import json

import pytest
from codemode_sandboxes import Capabilities
from codemode_sandboxes.contract import Gap

from codemode_graph.model import agent_message, example_messages, system_message, tools_message
from codemode_graph.model.reply import read_reply
from codemode_graph.tools.cards import render_cards
from codemode_graph.tools.load import load_tools
from tests.prompts.shop import TOOLS
from tests.prompts.snapshots import assert_same

CAPABILITIES = Capabilities(
    language="Python 3.14 subset",
    boundary="os",
    modules=frozenset({"json", "asyncio", "math", "_hidden"}),
    gaps=(
        Gap("generator functions", "append to a list", lambda tree: ()),
        Gap("class inheritance", "use a plain class", lambda tree: ()),
    ),
)


@pytest.mark.parametrize(("name", "structured"), [("fenced", False), ("structured", True)])
def test_the_conversation_is_the_one_that_was_read(name: str, structured: bool) -> None:
    examples = [f"## {each.type}\n\n{each.text}" for each in example_messages(structured=structured)]
    system = system_message(CAPABILITIES, structured=structured)
    assert_same(f"system-{name}", "\n\n".join([system, *examples, tools_message(render_cards(load_tools(TOOLS)))]))


def test_what_an_agent_reads_of_programs_is_what_was_read() -> None:
    assert_same("agent", agent_message(render_cards(load_tools(TOOLS)), CAPABILITIES, tool="run_program"))


@pytest.mark.parametrize("structured", [False, True])
def test_an_example_is_an_answer_as_it_is_asked_for(structured: bool) -> None:
    requests, answers = (example_messages(structured=structured)[place::2] for place in (0, 1))
    assert len(requests) == len(answers) == 3
    for answer in answers:
        program = json.loads(answer.text)["code"] if structured else read_reply(answer.text).program
        compile(program, "example", "exec")
    assert sorted(map(len, (answer.text for answer in answers)))[0] == len(answers[0].text)


def test_only_the_signs_that_stand_in_the_cards_are_explained() -> None:
    def price(sku: str) -> float:
        """The price."""
        return 1.0

    def look_up(sku: str):  # type: ignore[no-untyped-def]
        """Something."""

    plain = tools_message(render_cards(load_tools([price])))
    assert "`-> type`" in plain
    assert "`name?: type`" not in plain
    assert "nobody has said what comes back" not in plain
    assert "nobody has said what comes back" in tools_message(render_cards(load_tools([price, look_up])))
    # Cards that a program finds may have any sign.
    assert "`needs`" in tools_message("await tools['search_tools'](query: str) -> list[str]")


def test_text_of_tools_is_not_read_for_placeholders() -> None:
    def price(sku: str) -> float:
        """The price in $currency, or $$ where $python."""
        return 1.0

    assert "The price in $currency, or $$ where $python." in tools_message(render_cards(load_tools([price])))
