"""All of CPython in a process that the kernel lets do nothing but compute. Linux, nothing to install."""

from codemode_sandboxes.restricted.sandbox import RestrictedSandbox

__all__ = ["RestrictedSandbox"]
