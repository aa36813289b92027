"""Runs without a thread that wait for a person, such as those over LangGraph Server's own `/mcp`.

The server gives their client the state as if they had ended well, and nobody could answer. Here such a run goes on waiting
on a thread of its own, and ends with an error that says where, and how it is answered.
"""

import json
import logging
from typing import Any

from langchain.agents.middleware import HumanInTheLoopMiddleware
from langgraph.config import get_config
from langgraph.errors import GraphInterrupt
from langgraph_sdk import get_client

from codemode_graph.compat import checkpointer_of
from codemode_graph.nodes.approve import ApprovalNeedsThread
from codemode_graph.preview import sample
from codemode_graph.server.assistant import Assistant, read_assistant

_logger = logging.getLogger("codemode")


class HumanOnThread(HumanInTheLoopMiddleware[Any, Any]):
    """Asks as its base does, but fails a run that has no thread."""

    def after_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """Ask about the calls of the model's last message.

        Raises:
            ApprovalNeedsThread: Some wait for a person, and there is no thread.
        """
        try:
            return super().after_model(state, runtime)
        except GraphInterrupt as stop:
            config = get_config()
            if checkpointer_of(config) is not None:
                raise
            actions = stop.args[0][0].value["action_requests"]
            waiting = "; ".join(f"{action['name']}({sample(action['args'])})" for action in actions)
            raise ApprovalNeedsThread(
                f"The agent waits for a person to decide on {waiting}.",
                "None of these calls was made.",
                node="model",
                values={"messages": [message.model_dump() for message in state["messages"]]},
                config=config,
            ) from None


async def move_to_thread(error: ApprovalNeedsThread, assistant: Assistant) -> Exception:
    """Let a run that ended for want of a thread wait on one.

    Args:
        error: The error with which it ended.
        assistant: The configuration of the run.

    Returns:
        The error for its client. It is the one given where the run cannot be moved: it waits in a graph within another, it
        has a configuration of its own, or the server refuses a thread.
    """
    config: Any = error.config
    named = config["metadata"]["assistant_id"]
    outer = "|" in config["configurable"].get("checkpoint_ns", "")
    try:
        client = get_client()
        known = await client.assistants.get(named)
        # An answer comes with the assistant's configuration; that of this run alone might have been stricter.
        if outer or read_assistant(known.get("context")) != assistant:
            return _named(error, str(error))
        thread = (await client.threads.create(graph_id=known["graph_id"]))["thread_id"]
        try:
            await client.threads.update_state(thread, json.loads(json.dumps(error.values)), as_node=error.node)
            # Not to its end: the server may have one worker, which this run holds.
            await client.runs.create(thread, named, input=None)
        except Exception:
            await client.threads.delete(thread)
            raise
    except Exception as problem:
        _logger.warning("a run that waits for a person gets no thread: %s", problem)
        return _named(error, str(error))
    command = {"resume": {"decisions": [{"type": "approve"}]}}
    body = json.dumps(
        {"assistant_id": known["graph_id"] if known["name"] == known["graph_id"] else named, "command": command}
    )
    return _named(
        error,
        f"{error.waiting} {error.done} It waits on the thread {thread}: GET /threads/{thread}/state shows what is asked "
        f"(interrupts), and POST /threads/{thread}/runs/wait with {body}, one decision a call, goes on with it.",
    )


def _named(error: ApprovalNeedsThread, text: str) -> Exception:
    # Over its `/mcp` the server shows of an error the name of its class, and nothing else.
    kind: Any = type(f"ApprovalNeedsThread: {text}".replace("\0", ""), (RuntimeError,), {"__module__": __name__})
    found: Exception = kind(text)
    return found.with_traceback(error.__traceback__)
