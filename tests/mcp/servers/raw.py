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


IMAGE = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
ODD: dict[str, Any] = {
    "another_kind": {"content": [{"type": "chart", "data": "no base64", "points": [1, 2]}]},
    "video": {"content": [{"type": "text", "text": "a"}, {"type": "video", "data": "aGk=", "mimeType": "video/mp4"}]},
    "no_type": {"content": [{"type": "image", "data": "aGk="}]},
    "broken_lines": {"content": [{**IMAGE, "data": "aG\nk=\n"}]},
    "no_content": {"structuredContent": {"n": 1}},
    "list": {"content": [{"type": "text", "text": "[1]"}], "structuredContent": [1]},
    "bad_link": {"content": [{"type": "resource_link", "uri": "no address", "name": "x"}]},
    "failed_kind": {"content": [{"type": "chart", "why": "disk full"}], "isError": True},
    "text": {"content": "text"},
    "empty": {},
    "older": {"toolResult": {"n": 1}},
    "no_base64": {"content": [{"type": "text", "text": "a"}, {**IMAGE, "data": "%"}]},
}


def odd(method: str, params: dict[str, Any]) -> Any:
    return (
        {"tools": [{"name": n, "inputSchema": SCHEMA} for n in ODD]} if method == "tools/list" else ODD[params["name"]]
    )


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
