"""Leaves when it is imported."""

raise SystemExit("wrong arguments")
