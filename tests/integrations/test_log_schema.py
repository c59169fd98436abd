"""What is written, and what the documentation shows, is as the package's JSON Schema says."""

import json
import re
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_lines import parse, record

from dockerflow.logging import MozlogFormatter

SCHEMA = json.loads(
    resources.files("dockerflow.logging").joinpath("mozlog.schema.json").read_text()
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
ROOT = Path(__file__).parents[2]
EXAMPLES = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    for number, block in enumerate(
        re.findall(r"^```json\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    )
    if "Timestamp" in block
]
ENVELOPE = {
    "Timestamp": 1, "Type": "t", "Logger": "l", "Hostname": "h", "EnvVersion": "2.0",
    "Severity": 6, "Pid": 1,
}  # fmt: skip


def test_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("example", EXAMPLES)
def test_documented_example(example):
    for line in example.splitlines():
        VALIDATOR.validate(json.loads(line))


@pytest.mark.parametrize(
    "wrong",
    [
        {"Fields": {}}, {"Fields": None}, {"Fields": {"a": None}}, {"Fields": {"a": []}},
        {"Fields": {"a": {}}}, {"Fields": {"a": {"b": {"c": 1}}}}, {"Fields": {"a": [1, "b"]}},
        {"Fields": {"a": [[1]]}}, {"Timestamp": 1.5}, {"Timestamp": 2**63}, {"Severity": 8},
        {"EnvVersion": "2.0.0.0"}, {"Type": "request.summary"}, {"Pid": -1}, {"Type": None},
        {"Type": "request.summary", "Fields": {"path": "/"}},
    ],
)  # fmt: skip
def test_what_is_wrong(wrong):
    VALIDATOR.validate(ENVELOPE)
    assert not VALIDATOR.is_valid({**ENVELOPE, **wrong})


values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
        st.datetimes(), st.complex_numbers(), st.just(ValueError("a\nb")),
    ),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.text(), inner), st.frozensets(st.text() | st.floats())
    ),
    max_leaves=8,
)  # fmt: skip


@settings(deadline=None)
@given(
    message=values,
    args=st.lists(values, max_size=2),
    level=st.integers(-100, 200),
    extra=st.dictionaries(st.text(), values),
    max_bytes=st.one_of(st.none(), st.just(1024)),
)
def test_any_record_is_a_line_of_the_schema(message, args, level, extra, max_bytes):
    made = record(message, *args, level=level)
    made.__dict__.update({f"x{key}": value for key, value in extra.items()})
    VALIDATOR.validate(parse(MozlogFormatter(max_bytes=max_bytes).format(made)))
