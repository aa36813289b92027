"""The host's side of a guest that is a process: its start, its stream, its frames, its execution."""

from codemode_sandboxes.process.channel import Channel, StreamChannel, describe_exit
from codemode_sandboxes.process.execution import ProcessExecution, wait_ready
from codemode_sandboxes.process.spawn import Noise, spawn

__all__ = ["Channel", "Noise", "ProcessExecution", "StreamChannel", "describe_exit", "spawn", "wait_ready"]
