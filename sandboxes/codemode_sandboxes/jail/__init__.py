"""Sandboxes of namespaces: an image of Python as `/`, a user without rights, a filter, limits, a control group."""

from codemode_sandboxes.jail.sandbox import JailSandbox

__all__ = ["JailSandbox"]
