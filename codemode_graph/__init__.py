"""Code mode as a LangGraph state machine."""
