"""The node that asks for a better program."""

from langchain_core.runnables import RunnableConfig

from codemode_graph.model import repair_message
from codemode_graph.nodes.node import Update, return_type
from codemode_graph.nodes.run_log import close_ended, proposed
from codemode_graph.nodes.write import take_program, write_program
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState

__all__ = ["repair"]


async def repair(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Show the model what came of its program, and begin the next attempt with what it writes then.

    Of two executors that repair at one time, the one whose program is recorded second runs the recorded one.
    """
    attempts, usage = state["attempts"], state["usage"]
    program = await proposed(state, parts, config, len(attempts) + 1)
    if program is not None:
        return take_program(program, attempts=attempts, usage=usage)
    returns = return_type(state, parts)
    request = repair_message(state, returns=None if returns is None else returns.text(await parts.signatures()))
    update = await write_program(
        request,
        parts,
        config,
        task=state["task"],
        found=state.get("found") or [],
        attempts=attempts,
        usage=usage,
        prompts=state.get("prompts", []),
        calls=state["tool_calls"],
    )
    if update["verdict"] is not None:  # the model cannot be asked, so this run is over
        await close_ended(state, parts, config, update["verdict"])
    return update
