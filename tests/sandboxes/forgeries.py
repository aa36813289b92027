"""Frames that a hostile program writes to the host over its guest's own descriptor."""

from typing import Any

__all__ = ["FORGERIES", "sender"]

_DESCRIPTORS = {"restricted": 4}
_ELSEWHERE = 201


def sender(sandbox: Any) -> str:
    """The beginning of a program, which defines `send(data)`."""
    return f"import os\ndef send(data): os.write({_DESCRIPTORS.get(sandbox.name, _ELSEWHERE)}, data)\n"


# What a program writes to the host over the guest's own descriptor, and what comes of it.
FORGERIES = {
    "garbage": "send(b'\\0\\xff\\xfe garbage\\n')",
    "not UTF-8": "send(b'\"\\xc3\\x28\"\\n')",
    "a number": "send(b'1\\n')",
    "a list": "send(b'[]\\n')",
    "no type": "send(b'{}\\n')",
    "an odd type": 'send(b\'{"type": ["call"]}\\n\')',
    "deep": "send(b'[' * 90000 + b'\\n')",
    "deep value": 'send(b\'{"type":"finished","value":\' + b"[" * 500 + b"]" * 500 + b"}\\n")',
    "endless": "while True: send(b'[' * 65536)",
    "too large a value": 'send(b\'{"type":"finished","value":"\' + b"x" * 120000 + b\'"}\\n\')',
    "countless lists": 'send(b\'{"type":"finished","value":[\' + b"[]," * 30000 + b"[]]}\\n")',
    "no JSON": 'send(b\'{"type":"finished","value":Nothing}\\n\')',
    "a number of many digits": 'send(b\'{"type":"finished","value":\' + b"9" * 5000 + b"}\\n")',
    "no value": 'send(b\'{"type":"finished"}\\n\')',
    "a second end": 'send(b\'{"type":"finished","value":1}\\n{"type":"finished","value":2}\\n\')',
    "a call after the end": 'send(b\'{"type":"finished","value":1}\\n{"type":"call"}\\n\')',
    "an unknown tool": 'send(b\'{"type":"call","id":1,"tool":"admin","line":1,"arguments":[[],{}]}\\n\')',
    "no id": 'send(b\'{"type":"call","tool":"double","line":1,"arguments":[[],{}]}\\n\')',
    "an id that is true": 'send(b\'{"type":"call","id":true,"tool":"double","line":1,"arguments":[[],{}]}\\n\')',
    "a later id": 'send(b\'{"type":"call","id":9,"tool":"double","line":1,"arguments":[[],{}]}\\n\')',
    "an id again": 'send(b\'{"type":"call","id":1,"tool":"double","line":1,"arguments":[[],{}]}\\n\' * 2)',
    "odd arguments": 'send(b\'{"type":"call","id":1,"tool":"double","line":1,"arguments":{}}\\n\')',
    "an odd line": 'send(b\'{"type":"call","id":1,"tool":"double","line":"x","arguments":[[],{}]}\\n\')',
    "an unknown call given up": 'send(b\'{"type":"blocked","cancelled":[1],"wake_after":1}\\n\')',
    "nothing given up": 'send(b\'{"type":"blocked","cancelled":null,"wake_after":1}\\n\')',
    "waking in the past": 'send(b\'{"type":"blocked","cancelled":[],"wake_after":-1}\\n\')',
    "waking at infinity": 'send(b\'{"type":"blocked","cancelled":[],"wake_after":Infinity}\\n\')',
    "a print of nothing": 'send(b\'{"type":"print","text":""}\\n\')',
    "a print of a number": 'send(b\'{"type":"print","text":1}\\n\')',
    "a kind of failure that is not its own": (
        'send(b\'{"type":"failed","kind":"timeout","error":"E","message":"","line":1,"traceback":""}\\n\')'
    ),
    "half a failure": 'send(b\'{"type":"failed","kind":"program"}\\n\')',
    "two frames for one answer": 'send(b\'{"type":"blocked","cancelled":[],"wake_after":1}\\n\' * 2)',
}
