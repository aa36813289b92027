"""What bubblewrap and nsjail have in common: an image as `/`, a user of no rights, a filter, limits, a control group."""

from codemode_sandboxes.jail.sandbox import JailSandbox

__all__ = ["JailSandbox"]
