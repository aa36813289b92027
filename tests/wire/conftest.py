"""One service for a module, and clients that are closed in the end."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias

import pytest
from langchain_openai import ChatOpenAI

from tests.wire.server import Service

Connect: TypeAlias = Callable[..., ChatOpenAI]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Answers what a test scripts."""
    with Service() as service:
        yield service


@pytest.fixture(scope="module")
async def connect(service: Service) -> AsyncIterator[Connect]:
    """Makes a chat model that talks to the service; it retries only if `max_retries` says so."""
    models: list[ChatOpenAI] = []

    def connect(**options: Any) -> ChatOpenAI:
        settings = {"model": "gpt-5.2", "api_key": service.key, "base_url": service.url, "max_retries": 0, **options}
        models.append(ChatOpenAI(**settings))
        return models[-1]

    yield connect
    for model in models:
        await model.root_async_client.close()
        model.root_client.close()
