"""The system prompt: the rules, the Python that is there, the tools, an example."""

from collections.abc import Sequence

from codemode_sandboxes import Capabilities

from codemode_graph.prompts.templates import render
from codemode_graph.tools.cards import example_program, render_cards
from codemode_graph.tools.spec import ToolSpec

__all__ = ["system_message"]


def system_message(tools: Sequence[ToolSpec], capabilities: Capabilities, *, structured: bool) -> str:
    """The system prompt: the rules, what Python the sandbox offers, one card a tool, an example with these tools.

    Args:
        tools: The tools a program may call.
        capabilities: Of the sandbox that will run it.
        structured: Whether the answer is asked for as fields, or as a fenced block.
    """
    example = f"```python\n{example_program(tools).strip()}\n```"
    text = render("system", python=_python(capabilities), cards=render_cards(tools) or "(none)", example=example)
    return f"{text}\n\n# Answer\n\n{render('structured' if structured else 'fenced')}"


def _python(capabilities: Capabilities) -> str:
    gaps = "; ".join(f"no {gap.name} ({gap.substitute})" for gap in capabilities.gaps)
    return render(
        "python",
        language=capabilities.language,
        modules=", ".join(sorted(m for m in capabilities.modules if not m.startswith("_"))),
        gaps=f"Not available: {gaps}." if gaps else "",
    )
