"""Servers that misbehave, written without a library: the first argument says how."""

import json
import sys
from typing import Any

SCHEMA = {"type": "object"}
INITIALIZED = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "raw", "version": "1"},
}


def half_a_pair(method: str, params: dict[str, Any]) -> Any:
    if method == "tools/list":
        return {"tools": [{"name": "cut", "inputSchema": SCHEMA}]}
    return {"content": [{"type": "text", "text": "cut \ud83d"}]}


def pages(method: str, params: dict[str, Any]) -> Any:
    page = int(params.get("cursor", 0))
    tools = [{"name": f"tool-{page * 3 + i}", "inputSchema": SCHEMA} for i in range(3)]
    return {"tools": tools} | ({"nextCursor": str(page + 1)} if page < 3 else {})


def endless(method: str, params: dict[str, Any]) -> Any:
    return {"tools": [], "nextCursor": "again"}


def bad_list(method: str, params: dict[str, Any]) -> Any:
    return {"tools": [{"name": "a", "inputSchema": SCHEMA}, {"inputSchema": SCHEMA}]}


def no_result(method: str, params: dict[str, Any]) -> Any:
    return half_a_pair(method, params) if method == "tools/list" else {"content": "text"}


def main(kind: str) -> None:
    if kind == "fails":
        print("first line\nno database at /srv/db", file=sys.stderr)
        sys.exit(1)
    print("Welcome to the server!", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if kind == "silent" or "id" not in message:
            continue
        if message["method"] == "initialize":
            result: Any = INITIALIZED
        else:
            result = globals()[kind](message["method"], message.get("params") or {})
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
