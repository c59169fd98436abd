"""PURE: the words of a Dockerfile's instructions, however they are written."""

import pytest

from dockerflow.verify.users import words


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('["a", "b c"]', ["a", "b c"]),
        ('["a", 1]', ["a", "1"]),
        ("a 'b c'", ["a", "b c"]),
        ("[a b", ["[a", "b"]),  # no JSON: the shell's words
        ('{"a": 1}', ["{a:", "1}"]),
        ("it's broken", ["it's", "broken"]),
    ],
)
def test_words(value, expected):
    assert words(value) == expected
