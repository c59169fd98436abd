"""What make coverage asks of the branches."""

import importlib.util
import io
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci/branches.py"


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("branches", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.check


def report(branches):
    totals = {"covered_lines": 980, "num_statements": 1000}
    return io.StringIO(
        json.dumps({"totals": {**totals, "covered_branches": branches, "num_branches": 10_000}})
    )


def test_enough(check):
    assert check(report(9500), 95) == "98.0 % of lines and 95.0 % of branches"


def test_a_little_under_is_under(check):
    with pytest.raises(SystemExit, match=r"94\.9 % of branches: under 95 %") as caught:
        check(report(9499), 95)
    assert isinstance(caught.value.code, str)  # so that the exit code is 1
