"""The sandbox `ray`: the guests of another sandbox, in actors of a Ray cluster. Tools are called in the caller's process."""

from codemode_sandboxes.ray.sandbox import RaySandbox

__all__ = ["RaySandbox"]
