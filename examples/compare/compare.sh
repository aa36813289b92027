#!/bin/sh
# One program in every sandbox that is here, side by side: its tools are called once.
cd "$(dirname "$0")" && exec "${PYTHON:-python}" -m codemode_graph run --program program.py --tools words:TOOLS --compare
