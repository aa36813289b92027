"""The node that asks for a better program."""

import asyncio
import re
from collections import Counter

from langchain_core.runnables import RunnableConfig

from codemode_graph.model import repair_message
from codemode_graph.nodes.inspect_output import find_tools
from codemode_graph.nodes.node import Update, return_type
from codemode_graph.nodes.run_log import close_ended, proposed
from codemode_graph.nodes.write import take_program, write_prefix, write_program
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState

_NAMED = re.compile(r"""tools(?:\[(?:'|")|\.)([^'"\](]{1,200})""")
_MOST_NAMED = 8


async def repair(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Show the model what came of its program, and begin the next attempt with what it writes then.

    Of two executors that repair at one time, the one whose program is recorded second runs the recorded one.
    """
    program = await proposed(state, parts, config, len(state["attempts"]) + 1)
    if program is not None:
        return take_program(program, state)
    returns, found, prompts = return_type(state, parts), state.get("found") or [], state.get("prompts", [])
    prefix, catalogue = await write_prefix(parts, config, task=state["task"], found=found, prompts=prompts)
    # In a thread, as the cards are: signatures with what was seen are made anew for each program that saw something.
    seen, cards = await asyncio.to_thread(
        lambda: catalogue.news(prefix.tools, called=_vague_tools(state), found=_searched_tools(state, parts))
    )
    answer = None if returns is None else returns.text(await parts.signatures())
    message = repair_message(state, returns=answer, seen=seen, found=cards)
    update = await write_program(message, prefix, parts, config, state)
    if update["verdict"] is not None:  # the model cannot be asked, so this run is over
        await close_ended(state, parts, config, update["verdict"])
    return update


def _vague_tools(state: CodeModeState) -> list[str]:
    """Return the tools of the last program of which its message does not show all that the run has seen."""
    attempt = state["attempts"][-1]
    done = Counter(call["tool"] for call in state["tool_calls"] if call["status"] == "done")
    own = set(attempt["calls"])
    called = [call["tool"] for call in state["tool_calls"] if call["id"] in own]
    # A result that is the only one of its tool is shown itself.
    shown = {call["tool"] for call in state["tool_calls"] if call["id"] in own and call["status"] == "done"}
    named = dict.fromkeys([*called, *_NAMED.findall(attempt["program"])])
    return [name for name in named if name not in shown or done[name] > 1][:_MOST_NAMED]


def _searched_tools(state: CodeModeState, parts: Parts) -> list[str]:
    """Return the names of the tools that programs of the run looked for, the newest first."""
    looks = [attempt for attempt in reversed(state["attempts"]) if attempt["verdict"] == "looked"]
    return [name for attempt in looks for name in find_tools(state, parts, attempt)]
