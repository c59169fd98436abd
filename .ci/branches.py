"""Fail if a smaller share of the branches is covered than it has to be.

coverage json -o - | python .ci/branches.py 95
"""

import json
import sys
from typing import TextIO


def check(report: TextIO, percent: float) -> str:
    """Return the shares of lines and branches; raise SystemExit with them if one is too small."""
    totals = json.load(report)["totals"]
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    # Cut, not rounded: 94.96 is under 95.
    text = f"{int(lines * 10) / 10} % of lines and {int(branches * 10) / 10} % of branches"
    if branches < percent:
        sys.exit(f"{text}: under {percent:g} %")
    return text


if __name__ == "__main__":
    print(check(sys.stdin, float(sys.argv[1])))
