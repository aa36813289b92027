"""`python -m codemode_graph` is `codemode-graph`."""

from codemode_graph.cli import main

main()
