"""Pyodide: CPython as WebAssembly, in node or deno, in a jail."""

from codemode_sandboxes.pyodide.sandbox import PyodideSandbox

__all__ = ["PyodideSandbox"]
