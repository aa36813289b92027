"""Cannot be imported."""

raise RuntimeError("no connection with sk-proj-secretSecret0123456789\nin line two")
