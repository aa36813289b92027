"""The runner inside a CPython or Pyodide sandbox: standard library only, one program for each process.

The program's asyncio loop has a selector that talks to the host. When no task can run, the selector sends a "blocked"
frame and reads the host's answers. That exchange is the whole protocol: no socket and no thread is needed, and the
order of a run depends on nothing but the order of the answers. Between two exchanges the program's clock stands still.

Each frame is one JSON object on one line, in UTF-8, both ways; it works over a socket, a pipe, node's stdio and an
attached container alike.

    guest to host
        {"type": "ready"}                                             once, before anything else
        {"type": "print", "text"}                                     any number, before a blocked, finished or failed
        {"type": "call", "id", "tool", "line", "arguments": [args, kwargs]}      a call made since the last blocked
        {"type": "blocked", "cancelled": [id], "wake_after"}          then it reads a resume
        {"type": "finished", "value"}                                 the last frame
        {"type": "failed", "kind", "error", "message", "line", "traceback"}     the last frame
    host to guest
        {"type": "run", "code", "tools": [[name, attribute]], "seed", "now", "elapsed", "limits": {...}}       once
        {"type": "resume", "outcomes": [[id, "returned", value] or [id, "raised", type, message]], "elapsed"}

Call ids count from 1. When the host closes the stream, the guest ends.
"""
