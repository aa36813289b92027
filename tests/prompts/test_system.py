import pytest
from codemode_sandboxes import Capabilities
from codemode_sandboxes.contract import Gap

from codemode_graph.model import agent_message, system_message
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


@pytest.mark.parametrize(("name", "structured"), [("system-fenced", False), ("system-structured", True)])
def test_the_system_prompt_is_the_one_that_was_read(name: str, structured: bool) -> None:
    assert_same(name, system_message(render_cards(load_tools(TOOLS)), CAPABILITIES, structured=structured))


def test_what_an_agent_reads_of_programs_is_what_was_read() -> None:
    assert_same("agent", agent_message(render_cards(load_tools(TOOLS)), CAPABILITIES, tool="run_program"))


def test_what_comes_before_the_tools_does_not_depend_on_them() -> None:
    one, other = (
        system_message(render_cards(load_tools(some)), CAPABILITIES, structured=False)
        for some in (TOOLS[:1], TOOLS[1:])
    )
    begin, end = one.partition("await tools['list-orders']")[0], other.partition("await tools['stock']")[0]
    assert begin == end
    assert len(begin) > 1000


def test_text_of_tools_is_not_read_for_placeholders() -> None:
    def price(sku: str) -> float:
        """The price in $currency, or $$ where $python."""
        return 1.0

    assert "The price in $currency, or $$ where $python." in system_message(
        render_cards(load_tools([price])), CAPABILITIES, structured=False
    )
