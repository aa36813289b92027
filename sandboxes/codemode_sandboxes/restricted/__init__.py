"""The sandbox `restricted`: all of CPython, in a process that the kernel lets do nothing but compute."""

from codemode_sandboxes.restricted.sandbox import RestrictedSandbox

__all__ = ["RestrictedSandbox"]
