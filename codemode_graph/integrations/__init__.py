"""Code mode as a tool of other agents: of LangChain's, as a tool or as middleware, and of OpenAI's API."""
