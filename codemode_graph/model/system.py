"""The system prompt: the rules, the sandbox's Python, an example, the tools; and the text files that it is made of."""

from functools import cache
from importlib.resources import files
from string import Template

from codemode_sandboxes import Capabilities

__all__ = ["agent_message", "program_tool_description", "render", "request_message", "system_message"]


def system_message(cards: str, capabilities: Capabilities, *, structured: bool, instructions: str = "") -> str:
    """Return the system prompt: the rules, the sandbox's Python, an example, the tools.

    The part that depends on the tools comes last, so that a server can cache the rest.

    Args:
        cards: What is said of the tools, see `Catalogue.text`.
        capabilities: The capabilities of the sandbox.
        structured: Ask for the answer as fields, rather than as a fenced block.
        instructions: More, of the graph's owner.
    """
    text = _with_tools("system", cards, capabilities)
    if instructions.strip():
        text += f"\n\n# Instructions\n\n{instructions.strip()}"
    return f"{text}\n\n# Answer\n\n{render('structured' if structured else 'fenced')}"


def program_tool_description(cards: str, capabilities: Capabilities, *, returns: str | None = None) -> str:
    """Return the description of a tool that runs programs, for an agent's model: when to use it, and how.

    Args:
        cards: What is said of the tools, see `Catalogue.text`.
        capabilities: The capabilities of the sandbox.
        returns: The type of a program's value, as a model reads it; None where any will do.
    """
    return request_message(_with_tools("program_tool", cards, capabilities), returns)


def agent_message(cards: str, capabilities: Capabilities, *, tool: str, returns: str | None = None) -> str:
    """Return the instructions for an agent that can run programs: when to, and how to write them.

    Args:
        cards: What is said of the tools, see `Catalogue.text`.
        capabilities: The capabilities of the sandbox.
        tool: The name of the tool that runs programs.
        returns: The type of a program's value, as a model reads it; None where any will do.
    """
    return request_message(_with_tools("agent", cards, capabilities, tool=tool), returns)


def request_message(task: str, returns: str | None = None) -> str:
    """Return the message that asks for a program.

    Args:
        task: The task.
        returns: The type of the answer, as a model reads it; None where none is asked for.
    """
    return task if returns is None else f"{task}\n\n{render('answer_type', type=returns)}"


def _with_tools(template: str, cards: str, capabilities: Capabilities, **more: str) -> str:
    return render(
        template, rules=render("rules"), python=_python(capabilities), signs=render("cards"), cards=cards, **more
    )


def _python(capabilities: Capabilities) -> str:
    # Rules, each with what to write instead: a name alone tells nobody what to do.
    rules: dict[str, list[str]] = {}
    for gap in capabilities.gaps:
        if not gap.rare:
            rules.setdefault(gap.substitute, []).append(gap.name)
    gaps = "\n".join(f"- {', '.join(names)}: {substitute}" for substitute, names in rules.items())
    return render(
        "python",
        language=capabilities.language,
        modules=", ".join(sorted(m for m in capabilities.modules if not m.startswith("_"))),
        gaps=f"\n\nIt does not run the following. Write what stands behind the colon instead:\n\n{gaps}"
        if gaps
        else "",
    )


@cache
def _template(name: str) -> Template:
    return Template(files(__package__).joinpath(f"{name}.md").read_text(encoding="utf-8"))


def render(name: str, **values: str) -> str:
    """Fill in the text file `name`. Each placeholder needs a value; placeholders in a value stay as they are."""
    return _template(name).substitute(values).strip()
