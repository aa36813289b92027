"""The node where a run waits for people, in the form of LangChain's human-in-the-loop.

One request covers all the calls that wait. Its answer is `{"decisions": [...]}`, one decision a call, in order, or in
any order with the call's `id` in each.
"""

import ast
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sized
from contextlib import suppress
from typing import Any

from codemode_sandboxes.guest.json_values import to_json
from codemode_sandboxes.source import parse
from langchain_core.runnables import RunnableConfig
from langgraph.types import interrupt

from codemode_graph.calls.session import RunLog
from codemode_graph.calls.values import Values, is_reference
from codemode_graph.compat import checkpointer_of
from codemode_graph.errors import CodeModeError, ConfigurationError, Undecided
from codemode_graph.exact import decode, encode
from codemode_graph.nodes.node import Update
from codemode_graph.nodes.run_log import journal_of
from codemode_graph.preview import sample
from codemode_graph.redact import mask
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState, Decision, PendingCall, ToolCall
from codemode_graph.tools.hints import plain_object, to_plain
from codemode_graph.tools.spec import DecisionType

_ALLOWED: list[DecisionType] = ["approve", "edit", "reject", "respond"]
# Statuses of calls that did nothing, which a person need not weigh.
_WITHOUT_EFFECT = ("not_started", "interrupted", "denied")


async def approve(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Interrupt the run, and note what was decided.

    All calls that need a person become one interrupt; an answer that fits none is asked for again. A tool that asks is sent
    here by itself, so its question is an interrupt of its own, just as the tool called it.

    Raises:
        ApprovalNeedsThread: The run waits on LangGraph Server and has no thread, as over its `/mcp`: nobody could answer.
        TypeError, ValueError: An answer to a tool is no data. The question stays open.
    """
    log = RunLog(journal_of(parts, config), state["run_id"])
    await log.read()
    known = {call["key"]: log.view.decisions.get(call["key"]) for call in state["pending"]}
    if all(known.values()):  # of an answered process that died, the journal may hold what no checkpoint does
        return {"decisions": known}
    if parts.approver is None and checkpointer_of(config) is None and "langgraph_api" in sys.modules:
        raise ApprovalNeedsThread(*_no_thread(state), node="execute", values=dict(state), config=config)
    gated = [call for call in state["pending"] if call["reason"] != "tool"]
    if not gated:
        (call,) = state["pending"]
        answer = await _ask(parts, encode(call["question"]["value"]), call["question"]["schema"])
        message = to_json(to_plain(decode(answer)), max_bytes=parts.limits.value_bytes)
        return {"decisions": {call["key"]: Decision(type="answer", message=message)}}
    # One interrupt an execution: LangGraph takes an answer to the first for the second one too.
    # Through JSON and back: what a person leaves as it is comes back exactly.
    answer = await _ask(parts, encode(_request(state, gated, problem=state.get("problem"))))
    try:
        plain = plain_answer(answer, max_bytes=parts.limits.value_bytes)
        plain = _from_words(plain, gated) if isinstance(plain, str) else plain
        decisions = read_decisions(gated, plain, first=not state["decisions"])
    except (TypeError, ValueError) as error:
        if parts.approver is not None and state.get("problem"):
            raise unusable_answers(str(error)) from None
        return {"problem": str(error)}  # the program comes to the same calls again, and the person is asked again
    values = Values(run=log.run, journal=log.journal)
    names = {spec.name: spec.policy.redact for spec in parts.catalogue.callable}
    protected = {
        call["key"]: await _without_secrets(decisions[call["key"]], names.get(call["tool"], frozenset()), values)
        for call in gated
        if call["key"] in decisions
    }
    return {"decisions": protected, "problem": None}


def plain_answer(answer: object, *, max_bytes: int = sys.maxsize) -> Any:
    """Return an answer about calls as JSON's types, its numbers and texts exact: a date as its text, and so on.

    Raises:
        TypeError: Something in it is no data.
        ValueError: It is too large or too deep.
    """
    try:
        # Around an argument are the answer, its decisions, one of them, its action, and the arguments.
        return to_json(decode(answer), max_bytes=max_bytes, convert=plain_object, duration=to_plain, around=5)
    except (TypeError, ValueError) as error:
        raise type(error)(f"what was decided is no data: {error}") from None


def unusable_answers(problem: str) -> ConfigurationError:
    """Return the error of a function for approvals that gives one answer after the other that cannot be taken."""
    return ConfigurationError(f"approve gives no answer that can be taken: {problem}")


async def _ask(parts: Parts, question: Any, schema: Any = None) -> Any:
    """Return what the graph's approver answers; without one, or where that leaves it open, interrupt the graph."""
    if parts.approver is not None:
        with suppress(Undecided):
            return await call_approver(parts.approver, question)
    return interrupt(question, response_schema=schema)


async def call_approver(approver: Callable[[Any], Any], question: Any) -> Any:
    """Return what a function answers; decisions without ids get those of the calls that it was asked about.

    Such an answer cannot be one to an earlier question that comes a second time, which is why a person has to name ids.
    """
    answer = approver(question)
    answer = await answer if inspect.isawaitable(answer) else answer
    decisions = answer.get("decisions") if isinstance(answer, Mapping) else answer
    requests = question.get("action_requests") if isinstance(question, Mapping) else None
    if not isinstance(decisions, list) or not isinstance(requests, list) or len(decisions) != len(requests):
        return answer
    if not all(isinstance(decision, Mapping) and "id" not in decision for decision in decisions):
        return answer
    pairs = zip(requests, decisions, strict=True)
    return {"decisions": [{**decision, "id": request["id"]} for request, decision in pairs]}


class ApprovalNeedsThread(CodeModeError, RuntimeError):
    """A run waits for people, and cannot be gone on with: it has no thread.

    Attributes:
        waiting: What the run waits for, as a sentence.
        done: What took effect, as a sentence.
        node: The node after which a thread that has `values` comes to the same question.
        values: The state of the graph that waits.
        config: Of the node that asks.
    """

    def __init__(self, waiting: str, done: str, *, node: str, values: dict[str, Any], config: RunnableConfig) -> None:
        advice = "It has no thread on which that could be answered: start it on a thread, or over A2A."
        super().__init__(f"{waiting} {advice} {done}")
        self.waiting, self.done = waiting, done
        self.node, self.values, self.config = node, values, config


def _no_thread(state: CodeModeState) -> tuple[str, str]:
    # The server gives a client that waits without a thread the state as if the run had ended well.
    waiting = "; ".join(f"{call['tool']}({sample(call['arguments'])})" for call in state["pending"])
    effects = {
        "These calls took effect": [call["tool"] for call in _effects(state) if call["status"] == "done"],
        "These were cut off, and may have taken effect": [
            call["tool"] for call in _effects(state) if call["status"] in ("unknown", "started")
        ],
    }
    done = " ".join(f"{words}: {', '.join(names)}." for words, names in effects.items() if names)
    return f"The run waits for a person to decide on {waiting}.", done or "No call took effect."


def _effects(state: CodeModeState) -> list[ToolCall]:
    return [call for call in state["tool_calls"] if call["effect"] != "read" and call["status"] not in _WITHOUT_EFFECT]


async def _without_secrets(decision: Decision, names: frozenset[str], values: Values) -> Decision:
    """Return a decision with references in place of what the tool's policy redacts."""

    async def keep(value: object, shown: object) -> object:
        secret = encode(shown) != encode(value)
        # What looks like a reference is kept by one, or it would be read as one.
        return await values.keep(value, shown=shown, secret=True) if secret or is_reference(value) else value

    if "arguments" in decision:
        arguments = decision["arguments"]
        shown = mask(arguments, names)
        return {**decision, "arguments": {name: await keep(value, shown[name]) for name, value in arguments.items()}}
    if decision["type"] == "respond":
        message = decision.get("message")
        return {**decision, "message": await keep(message, mask(message, names))}
    return decision


def _request(state: CodeModeState, pending: list[PendingCall], *, problem: str | None = None) -> dict[str, Any]:
    """Return what a person is shown: the calls that wait, and what is needed to judge them.

    Args:
        state: Of a run whose program is stopped.
        pending: The calls.
        problem: Why an earlier answer could not be taken.

    Returns:
        `action_requests` and `review_configs` as LangChain's human-in-the-loop has them, each request with the call's
        `id`, its `line` and the `reason` to ask; `program`; `done`, the calls with an effect that have been made; `plan`,
        the calls that may follow, as far as the program's text tells.
    """
    request: dict[str, Any] = {
        "action_requests": [_action(call) for call in pending],
        "review_configs": [
            {"action_name": call["tool"], "allowed_decisions": _allowed(call)}
            for call in {call["tool"]: call for call in pending}.values()
        ],
        "task": state["task"],
        "program": state["program"],
        "done": [{key: call[key] for key in ("id", "tool", "arguments", "status")} for call in _effects(state)],
        "plan": static_plan(state["program"], after=max((call["line"] or 0 for call in pending), default=0)),
    }
    return request if problem is None else {**request, "problem": problem}


def _action(call: PendingCall) -> dict[str, Any]:
    where = f" on line {call['line']}" if call["line"] else ""
    text = {
        "approval": f"The program wants to call {call['tool']}{where} with {sample(call['arguments'])}."
        f"{' Note: ' + call['cause'] + '.' if 'cause' in call else ''}",
        "unknown": (
            f"A call of {call['tool']}{where} with {sample(call['arguments'])} was cut off and may have taken effect"
            f"{' (' + call['cause'] + ')' if 'cause' in call else ''}. "
            "Approve to make it again, respond with its result if it did take effect, or reject."
        ),
    }[call["reason"]]
    return {
        "name": call["tool"],
        "args": call["arguments"],
        "description": call.get("description", text),
        "id": call["id"],
        "line": call["line"],
        "reason": call["reason"],
    }


def read_decisions(pending: list[PendingCall], answer: object, *, first: bool = True) -> dict[str, Decision]:
    """Tie a person's answer to the calls that wait.

    Args:
        pending: The calls, in the order in which they were shown.
        answer: What the run was resumed with.
        first: Nothing has been asked in this run before, so that an answer without ids is for these calls.

    Returns:
        Decisions by the call's key. A call that was not answered has none.

    Raises:
        ValueError: The answer cannot be tied to the calls; the message says why.
    """
    decisions = answer.get("decisions") if isinstance(answer, Mapping) else answer
    if not isinstance(decisions, list) or not all(isinstance(decision, Mapping) for decision in decisions):
        raise ValueError('the answer has to be {"decisions": [{"type": "approve"}, ...]}')
    by_id = {call["id"]: call for call in pending}
    named = [decision for decision in decisions if "id" in decision]
    if not named and len(decisions) != len(pending):
        raise ValueError(f"{_waiting(pending)}, and {_number(decisions, 'decision')} came: give one each, or name ids")
    if not named and not first and (destructive := [call for call in pending if call.get("destroys")]):
        # An answer that comes twice would else decide on what the person has not seen.
        example = json.dumps({"decisions": [{"id": call["id"], "type": "approve"} for call in pending]})
        raise ValueError(
            f"this run has asked before, and {destructive[0]['tool']} is destructive: name the ids, such as {example}"
        )
    if named and len(named) != len(decisions):
        raise ValueError("either every decision names the id of its call, or none does")
    calls = [by_id.get(decision["id"]) for decision in decisions] if named else list(pending)
    if None in calls or len({call["id"] for call in calls if call}) != len(calls):
        raise ValueError(f"the ids have to be among {', '.join(by_id)}, each once")
    return {call["key"]: _decision(call, answer) for call, answer in zip(calls, decisions, strict=True) if call}


def _from_words(text: str, pending: list[PendingCall]) -> object:
    """Return what a person said in a chat as an answer: JSON, or one word for all calls, with a reason after `reject`."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    word, _, reason = text.strip().partition(":") if ":" in text else (text.strip(), "", "")
    reply = word.strip(" .!").lower()
    unknown = next((call for call in pending if call["reason"] == "unknown"), None)
    if unknown is not None and reply in ("yes", "no"):
        # A yes may mean that it took place as well as that it may be made once more.
        raise ValueError(
            f"whether {unknown['tool']} took effect is not known: answer approve to make the call once more, reject to leave "
            f'it out, or, if it took effect, [{{"type": "respond", "id": "{unknown["id"]}", "message": what it returned}}]'
        )
    decision = {"approve": "approve", "yes": "approve", "reject": "reject", "no": "reject"}.get(reply)
    if decision is None:
        raise ValueError(f"{_waiting(pending)}: answer approve, or reject: and why")
    return [{"type": decision, **({"message": reason.strip()} if reason.strip() else {})} for _ in pending]


def _waiting(pending: list[PendingCall]) -> str:
    return f"{_number(pending, 'call')} wait{'s' * (len(pending) == 1)}"


def _number(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'s' * (len(things) != 1)}"


def _allowed(call: PendingCall) -> list[DecisionType]:
    return call.get("allowed", _ALLOWED)


def _decision(call: PendingCall, answer: Mapping[str, Any]) -> Decision:
    match answer.get("type"):
        case kind if kind not in _allowed(call):
            pass
        case "approve":
            return Decision(type="approve")
        case "reject":
            return Decision(type="reject", message=answer.get("message"))
        case "respond":
            return Decision(type="respond", message=answer.get("message"))
        case "edit":
            action = answer.get("edited_action")
            if not isinstance(action, Mapping) or not isinstance(action.get("args"), Mapping):
                raise ValueError(f'the edit of call {call["id"]} has to bring {{"edited_action": {{"name", "args"}}}}')
            if action.get("name", call["tool"]) != call["tool"]:
                raise ValueError(f"the edit of call {call['id']} may change its arguments, not its tool")
            return Decision(type="edit", arguments=dict(action["args"]))
    raise ValueError(f"the decision on call {call['id']} has to be one of {', '.join(_allowed(call))}")


def static_plan(program: str, *, after: int = 0) -> list[dict[str, Any]]:
    """List the tool calls that stand in a program.

    Args:
        program: Python source.
        after: Leave out the calls up to this line; calls in a loop or function that reaches beyond it are kept.

    Returns:
        `line`, `tool` and `arguments` of each call, in the order of the text. An argument whose value only a run can
        tell is its source text.
    """
    try:
        tree = parse(program)
    except SyntaxError:
        return []
    # A call in a loop may come again after the line at which the program waits.
    repeated = [
        node for node in ast.walk(tree) if isinstance(node, ast.For | ast.AsyncFor | ast.While | ast.comprehension)
    ]
    looped = {id(inner) for loop in repeated for inner in ast.walk(loop)}
    calls = [
        (node, name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (name := _tool(node.func)) and (node.lineno > after or id(node) in looped)
    ]
    return [
        {"line": node.lineno, "tool": name, "arguments": _arguments(node)}
        for node, name in sorted(calls, key=lambda found: (found[0].lineno, found[0].col_offset))
    ]


def _tool(function: ast.expr) -> str | None:
    match function:
        case ast.Attribute(value=ast.Name(id="tools"), attr=name):
            return name
        case ast.Subscript(value=ast.Name(id="tools"), slice=ast.Constant(value=str() as name)):
            return name
    return None


def _arguments(call: ast.Call) -> dict[str, str]:
    positional = {str(number): ast.unparse(value) for number, value in enumerate(call.args)}
    return positional | {keyword.arg or "**": ast.unparse(keyword.value) for keyword in call.keywords}
