"""A thousand tasks, whose programs run on a Ray cluster: `python examples/many_tasks_on_ray.py`.

Run it on a machine of the cluster, or as a Ray job:

    ray job submit --working-dir . -- python examples/many_tasks_on_ray.py --address auto

Without `--address` it starts a Ray of its own on this machine. The model is a stand-in, so that no key is needed: it writes
for each task the program that one would write. Put in its place the name of a model, such as "openai:gpt-5.2".
"""

import argparse
import asyncio
import re
import time

from codemode_sandboxes.ray import RaySandbox
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from codemode_graph import codemode, tool


class Writer(GenericFakeChatModel):
    """Writes the program of each task."""

    def _generate(self, messages: list[BaseMessage], *args: object, **kwargs: object) -> ChatResult:
        number = re.findall(r"order (\d+)", str(messages[-1].content))[-1]
        program = f"items = await tools.items(order={number})\nsum(items)"
        return ChatResult(generations=[ChatGeneration(message=AIMessage(f"```python\n{program}\n```"))])


@tool(effect="read")
async def items(order: int) -> list[int]:
    """Look up the prices of an order's items."""
    await asyncio.sleep(0.01)
    return [order, 1, 2]


async def main(tasks: int, at_once: int, sandbox: RaySandbox) -> None:
    cm = codemode(model=Writer(messages=iter([])), tools=[items], backend=sandbox)
    started = time.perf_counter()
    try:
        results = await cm.batch_run([f"Add up order {n}" for n in range(tasks)], concurrency=at_once)
    finally:
        await cm.aclose()
        await sandbox.aclose()
    seconds = time.perf_counter() - started
    right = sum(result["output"] == n + 3 for n, result in enumerate(results))
    print(f"{right} of {tasks} tasks are right, {tasks / seconds:.0f} a second")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--address")
    parser.add_argument("--inner", default="monty")
    parser.add_argument("--hosts", type=int, default=3)
    options = parser.parse_args()
    sandbox = RaySandbox(options.inner, hosts=options.hosts, address=options.address, resources={"CPU": 0.5})
    asyncio.run(main(options.tasks, options.at_once, sandbox))
