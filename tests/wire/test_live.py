"""A run with a real model, for those who have one: set CODEMODE_TEST_BASE_URL, CODEMODE_TEST_MODEL, CODEMODE_TEST_API_KEY."""

import os
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from codemode_graph import codemode
from codemode_graph.tools import tool

URL, NAME = os.environ.get("CODEMODE_TEST_BASE_URL"), os.environ.get("CODEMODE_TEST_MODEL")
KEY = os.environ.get("CODEMODE_TEST_API_KEY", "none")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (URL and NAME), reason="CODEMODE_TEST_BASE_URL and CODEMODE_TEST_MODEL are not set"),
]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("api", ["chat", *os.environ.get("CODEMODE_TEST_APIS", "").split()])
async def test_a_real_model_writes_a_program_that_does_the_task(api: str, streamed: bool) -> None:
    asked: list[str] = []

    @tool(effect="read")
    def temperature(city: str) -> float:
        """Look up today's temperature in a city, in degrees Celsius.

        Args:
            city: Its English name.
        """
        asked.append(city)
        return {"Oslo": 4.5, "Rome": 21.0}[city]

    options: dict[str, Any] = {"use_responses_api": api == "responses", "streaming": streamed, "temperature": 0}
    model = ChatOpenAI(model=str(NAME), base_url=URL, api_key=SecretStr(KEY), timeout=300, **options)
    async with codemode(tools=[temperature], code_model=model) as cm:
        result = await cm.run("How many degrees warmer is it today in Rome than in Oslo? Return the number.")
    used = result["metrics"]
    assert (result["error"], result["output"]) == (None, 16.5), result["program"]
    assert set(asked) == {"Oslo", "Rome"}
    assert used["total_tokens"] == used["total_input_tokens"] + used["total_output_tokens"]
    assert min(used["total_input_tokens"], used["total_output_tokens"]) > 0
