"""Runs to look at: one in which much happened, and one in which every text is hostile."""

from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from codemode_graph import Prices, ToolPolicy, Trace, create_codemode, tool
from tests.support import scripted

MARKER = "h0stile"
PAYLOADS = [
    f"<script>document.title='{MARKER}'</script>",
    f"<img src=x onerror=\"document.title='{MARKER}'\">",
    f"</pre></code></title></style><svg onload=\"document.title='{MARKER}'\">",
    f'" onmouseover="document.title=\'{MARKER}\'" autofocus onfocus="document.title=\'{MARKER}\'" x="',
    f"<a href=\"javascript:document.title='{MARKER}'\">x</a><iframe srcdoc=\"&lt;script>parent.document.title='{MARKER}'\"></iframe>",
    f"--><!--<base href=//x><meta http-equiv=refresh content='0;url=data:text/html,{MARKER}'><form action=//x>",
    f"&lt;script&gt;{MARKER}&lt;/script&gt;",
    f"$run $style ${{title}} {{{{7*7}}}} {MARKER}",
    f";background:url(//x/{MARKER})}} *{{display:none}} /* {MARKER}",
    f"'; {MARKER} \u202egnp.exe \ud800 \x00 \x1b[2J \u2028",
]

WRONG_KEY = "orders = await tools.list_orders('open')\nsum(order['amount'] for order in orders)"
MISSING = """
import asyncio
orders = await tools.list_orders('open')
print('orders:', len(orders))
await asyncio.gather(*[tools.customer(id=order['customer'], token='s3cret') for order in orders])
"""
PAYS = """
import asyncio
orders = await tools.list_orders('open')
found = await asyncio.gather(*[tools.customer(id=c, token='s3cret') for c in ['ann', 'bob']])
async def pay(name):
    try:
        return await tools.pay(name)
    except PermissionError as refusal:
        return str(refusal)
await asyncio.gather(*[pay(name) for name in ['ann', 'bob', 'cat']])
"""


async def eventful() -> tuple[Trace, Trace]:
    """A run that is repaired twice and waits for a person: as it waits, and at its end."""

    @tool(effect="read")
    def list_orders(status: str) -> list[dict[str, Any]]:
        """List the orders."""
        return [{"customer": name, "total": 2.5} for name in ("ann", "bob", "cat")]

    @tool(effect="read")
    async def customer(id: str, token: str) -> dict[str, Any]:
        """Look up a customer."""
        if id == "cat":
            raise LookupError("there is no customer 'cat'")
        return {"id": id, "iban": "DE89 3704"}

    async def pay(name: str) -> str:
        """Pay somebody."""
        return f"paid {name}"

    graph = create_codemode(
        model=scripted("await tools.list_order('open')", MISSING, PAYS),
        tools=[list_orders, customer, pay],
        policies={
            "pay": ToolPolicy(approval=True),
            "customer": ToolPolicy(redact=frozenset({"token", "iban"})),
        },
    ).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "eventful"}}
    await graph.ainvoke({"task": "Pay the customers with open orders."}, config)
    waiting: Any = (await graph.aget_state(config)).values
    decisions = [
        {"type": "approve"},
        {"type": "reject", "message": "disputed"},
        {"type": "respond", "message": "by hand"},
    ]
    await graph.ainvoke(Command(resume={"decisions": decisions}), config)
    ended: Any = (await graph.aget_state(config)).values
    return Trace.from_state(waiting), Trace.from_state(ended, prices=Prices(input=1, output=10))


def hostile(payload: str) -> Trace:
    """A run in which whatever may be anybody's text is this one."""
    failure: Any = {"kind": payload, "type": payload, "message": payload, "line": 1, "traceback": payload}
    call: Any = {
        "id": "1.1", "attempt": 1, "tool": payload, "arguments": {payload: payload}, "key": payload, "effect": payload,
        "status": "done", "value": {payload: [payload]}, "error": None, "line": 1, "started": 5.0, "seconds": 1.0,
    }  # fmt: skip
    failed: Any = {**call, "id": "1.2", "status": "failed", "error": {"type": payload, "message": payload}}
    kept: Any = {"codemode_reference": payload, "bytes": 7, "shape": payload, "sample": payload}
    pending: Any = {
        "id": payload, "key": payload, "tool": payload, "arguments": {payload: payload}, "line": 2, "reason": "tool",
        "question": {"value": payload, "schema": None},
    }  # fmt: skip
    attempt: Any = {
        "number": 1, "thoughts": payload, "program": f"x = 1\n{payload}\n'''{payload}", "fixes": [payload],
        "findings": [{"rule": payload, "message": payload, "line": 1}, {"rule": payload, "message": payload, "line": None}],
        "verdict": "error", "failure": failure, "output": None, "stdout": payload, "calls": ["1.1", "1.2", "1.3"],
        "sandbox": payload, "seconds": 1.0,
    }  # fmt: skip
    used: Any = {
        "attempt": 1, "model": payload, "input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "seconds": 1.0,
    }  # fmt: skip
    return Trace(
        task=payload,
        verdict="ok" if len(payload) % 2 else "error",
        output={payload: payload},
        error=failure,
        attempts=[attempt, attempt | {"number": 2, "program": payload}],
        calls=[call, failed, call | {"id": "1.3", "value": kept}],
        usage=[used],
        pending=[pending],
        prompts=[{"attempt": 1, "system": payload, "request": payload}, {"attempt": 2, "request": payload}],
        run_id=payload,
        started=5.0,
        ended=7.0,
    )
