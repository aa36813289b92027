"""The conversation that asks for a program: the rules, the sandbox's Python, examples as turns, the tools, the task."""

import json
import re
from functools import cache
from importlib.resources import files
from string import Template

from codemode_sandboxes import Capabilities
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

# Each line of cards.md with the signs that it is about. A small model reads every line of a prompt as if it mattered.
_SIGNS = (
    r"\?:|: [^\n{]* = |[(\s]\*{1,2}\w|\.\.\.|/[^/\n]+/:",
    r"' \||\| None|\w \([^)\n]+\)|/[^/\n]+/|tuple\[",
    r"->",
    r"(?m)^await tools\[.*\)$|seen:",
    r"\bneeds\b|…",
    r"\[(?:write|idempotent|destructive|effect not declared)\]",
)


def system_message(capabilities: Capabilities, *, structured: bool, instructions: str = "") -> str:
    """Return the system prompt: the rules, the sandbox's Python, and how to answer.

    It depends on no tool and no task, nor do the examples behind it, so that a server can cache both.

    Args:
        capabilities: The capabilities of the sandbox.
        structured: Ask for the answer as fields, rather than as a fenced block.
        instructions: More, of the graph's owner.
    """
    text = render("system", rules=render("rules"), python=_python(capabilities))
    if instructions.strip():
        text += f"\n\n# Instructions\n\n{instructions.strip()}"
    return f"{text}\n\n{render('structured' if structured else 'fenced')}"


@cache
def _examples() -> tuple[tuple[str, str], ...]:
    blocks = [each.strip() for each in re.split(r"(?m)^(?=# Tools$)", render("examples")) if each.strip()]
    return tuple((request, program) for request, _, program in (each.partition("\n\n# Answer\n\n") for each in blocks))


def example_messages(*, structured: bool) -> list[BaseMessage]:
    """Return the examples as earlier turns: a model follows an answer that it takes for its own before any rule.

    They are small, the smallest one first, and about other tools than anybody has, for a weak model copies their names.

    Args:
        structured: Whether answers are fields, or a fenced block.
    """
    messages: list[BaseMessage] = []
    for request, program in _examples():
        comment = re.search(r"# (.*)", program)
        thoughts = comment[1] if comment else ""
        answer = f"```python\n{program}\n```"
        if structured:
            answer = json.dumps({"thoughts": thoughts, "code": program})
        messages += [HumanMessage(request), AIMessage(answer)]
    return messages


def tools_message(cards: str) -> str:
    """Return the part of the user's message before the task: the cards, and the signs in them.

    Args:
        cards: The text about the tools, see `Catalogue.text`.
    """
    signs = _signs(cards)
    return render("tools", signs=f"{signs}\n\n" if signs else "", cards=cards)


def _signs(cards: str) -> str:
    """Return the lines about the signs that stand in the cards; all of them where a program may find further cards."""
    lines = render("cards").splitlines()
    finds = "tools['search_tools']" in cards
    return "\n".join(line for line, signs in zip(lines, _SIGNS, strict=True) if finds or re.search(signs, cards))


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
        template, rules=render("rules"), python=_python(capabilities), signs=_signs(cards), cards=cards, **more
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
