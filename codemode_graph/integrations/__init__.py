"""Code mode in other agents: LangChain's, OpenAI's API, Vercel's AI SDK, and clients of MCP."""
