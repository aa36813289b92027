"""A chat model that says what a test tells it to say."""

import ast
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

Reply = str | AIMessage | Exception | Callable[[Sequence[BaseMessage]], str]


class ScriptedModel(BaseChatModel):
    """A model that replies `replies` in turn, repeats the last, and keeps every conversation in `asked`."""

    replies: list[Any] = Field(default_factory=list)
    asked: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def prompts(self) -> list[str]:
        """The last message of every conversation, without the tools that it begins with."""
        texts = [conversation[-1].text for conversation in self.asked]
        return [text.partition("\n\n# Task\n\n")[2] or text for text in texts]

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply: Reply = self.replies[min(len(self.asked), len(self.replies) - 1)]
        self.asked.append(messages)
        if isinstance(reply, Exception):
            raise reply
        if callable(reply):
            reply = reply(messages)
        if isinstance(reply, str):
            usage = UsageMetadata(input_tokens=100, output_tokens=20, total_tokens=120)
            reply = AIMessage(reply, usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=reply)])


def scripted(*replies: Reply) -> ScriptedModel:
    """A model that gives these replies. A program may be given bare: it is put into a fence."""
    return ScriptedModel(replies=[_fenced(reply) for reply in replies])


def _fenced(reply: Reply) -> Reply:
    if isinstance(reply, str) and "```" not in reply and _is_program(reply):
        return f"I will call the tools.\n\n```python\n{reply.strip()}\n```"
    return reply


def _is_program(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return "def " in text
    return True
