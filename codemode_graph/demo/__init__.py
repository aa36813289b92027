"""A run that anybody can see: real tools, a real sandbox, and a model where there is one."""

from codemode_graph.demo.show import run_demo

__all__ = ["run_demo"]
