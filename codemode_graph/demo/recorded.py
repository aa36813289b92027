"""A chat model that repeats what a model once wrote, for those who have no key."""

from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

__all__ = ["RecordedModel", "Recording"]

Recording = tuple[str, int, int]
"""What the model wrote, and the tokens that it read and wrote then."""


class RecordedModel(BaseChatModel):
    """Gives its recordings in turn, whatever it is asked."""

    recordings: list[Recording]
    model_name: str
    _next: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "recorded"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text, read, written = self.recordings[self._next % len(self.recordings)]
        self._next += 1
        usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text, usage_metadata=usage))])
