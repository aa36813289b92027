"""The node that gets the first program: from the model, or from the caller."""

import secrets
import time
import uuid

from codemode_sandboxes.source import parse
from langchain_core.runnables import RunnableConfig
from langgraph.types import Overwrite

from codemode_graph.errors import ModelError
from codemode_graph.events import AttemptEvent, emit
from codemode_graph.model.reply import extract_program
from codemode_graph.nodes.attempts import begun
from codemode_graph.nodes.node import Update
from codemode_graph.nodes.write import write_program
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState

__all__ = ["bare", "generate"]


async def generate(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Begin a run: forget what an earlier run of this thread left, and get a program for the task."""
    fresh: Update = {
        "code": None,
        "program": "",
        "attempts": [],
        "earlier": [],
        "tool_calls": state.get("earlier") or [],
        "updates": [],
        "usage": [],
        "verdict": None,
        "output": None,
        "error": None,
        "stdout": "",
        "run_id": uuid.uuid4().hex,
        "pending": [],
        "decisions": Overwrite({}),
        "turns": [],
        "seed": secrets.randbits(32),
        "started": time.time(),
    }
    code = state.get("code")
    if code is not None:
        emit(AttemptEvent(type="attempt", number=1))
        program = bare(code)
        return {**fresh, "program": program, "attempts": begun([], program, "")}
    return {**fresh, **await write_program(state["task"].strip(), parts, config, attempts=[], usage=[])}


def bare(code: str) -> str:
    """A program without the fence and the prose that it may have come in; one that is Python stays as it is."""
    try:
        parse(code)
    except SyntaxError:
        try:
            return extract_program(code)
        except ModelError:
            return code
    return code
