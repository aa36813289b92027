"""A run that can be looked at: in a notebook, in a terminal, on a page of its own."""

from codemode_graph.trace.trace import Trace

__all__ = ["Trace"]
