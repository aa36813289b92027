"""A run without a key: real tools, a real sandbox, and a recorded model where no other is set."""

from codemode_graph.demo.show import run_demo, send_letter, send_reminder

__all__ = ["run_demo", "send_letter", "send_reminder"]
