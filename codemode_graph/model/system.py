"""The system prompt: the rules, the Python that is there, an example, the tools."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from string import Template

from codemode_sandboxes import Capabilities

from codemode_graph.tools.signatures import render_cards
from codemode_graph.tools.spec import ToolSpec

__all__ = ["agent_message", "program_tool_description", "render", "system_message"]


def system_message(tools: Sequence[ToolSpec], capabilities: Capabilities, *, structured: bool) -> str:
    """The system prompt: the rules, what Python the sandbox offers, an example, one card a tool.

    What depends on the tools comes last, so that a server can keep what it has read of the rest.

    Args:
        tools: The tools a program may call.
        capabilities: Of the sandbox that will run it.
        structured: Whether the answer is asked for as fields, or as a fenced block.
    """
    text = _with_tools("system", tools, capabilities)
    return f"{text}\n\n# Answer\n\n{render('structured' if structured else 'fenced')}"


def program_tool_description(tools: Sequence[ToolSpec], capabilities: Capabilities) -> str:
    """What another agent's model reads of a tool that runs programs: when to use it, and how they are written.

    Args:
        tools: The tools a program may call.
        capabilities: Of the sandbox that will run it.
    """
    return _with_tools("program_tool", tools, capabilities)


def agent_message(tools: Sequence[ToolSpec], capabilities: Capabilities, *, tool: str) -> str:
    """What an agent that can run programs reads beside its own instructions: when to, and how they are written.

    Args:
        tools: The tools a program may call.
        capabilities: Of the sandbox that will run it.
        tool: The name of the tool that runs programs.
    """
    return _with_tools("agent", tools, capabilities, tool=tool)


def _with_tools(template: str, tools: Sequence[ToolSpec], capabilities: Capabilities, **more: str) -> str:
    cards = render_cards(tools) or "(none)"
    return render(template, rules=render("rules"), python=_python(capabilities), cards=cards, **more)


def _python(capabilities: Capabilities) -> str:
    # What to write instead is told by the check, once a program uses a gap: it finds them all before anything runs.
    gaps = ", ".join(gap.name for gap in capabilities.gaps if not gap.rare)
    return render(
        "python",
        language=capabilities.language,
        modules=", ".join(sorted(m for m in capabilities.modules if not m.startswith("_"))),
        gaps=f" Not available: {gaps}." if gaps else "",
    )


@cache
def _template(name: str) -> Template:
    return Template(files(__package__).joinpath(f"{name}.md").read_text(encoding="utf-8"))


def render(name: str, **values: str) -> str:
    """Fill in the text file `name`. Every placeholder must be given; text inserted is not read for placeholders."""
    return _template(name).substitute(values).strip()
