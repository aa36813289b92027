"""The ways to do a task with a model that are compared: each module is one, and runs in an environment of its own."""
