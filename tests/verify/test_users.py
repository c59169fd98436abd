"""The words of a Dockerfile's instructions, however they are written."""

import pytest

from dockerflow.verify.evidence import Instruction
from dockerflow.verify.users import created_by, words


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('["a", "b c"]', ["a", "b c"]),
        ('["a", 1]', ["a", "1"]),
        ("a 'b c'", ["a", "b c"]),
        ("[a b", ["[a", "b"]),  # not JSON: split as a shell does
        ('{"a": 1}', ["{a:", "1}"]),
        ("it's broken", ["it's", "broken"]),
    ],
)
def test_words(value, expected):
    assert words(value) == expected


def ids(*commands):
    made = created_by(Instruction("RUN", command, 1, 0) for command in commands)
    return made.user, made.group, made.primary


GROUP, USER = "groupadd -g 10001 app", "useradd -u 10001 -g app app"
BOTH = ("10001", "10001", "app")


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ((GROUP, USER), BOTH),
        ((f"{GROUP} && {USER} && echo it's made",), BOTH),  # which the shell would refuse
        ((GROUP, USER, "userdel other; groupdel other; usermod -u 1 other"), BOTH),
        ((GROUP, USER, "deluser app"), (None, "10001", "app")),
        ((GROUP, USER, "delgroup app"), ("10001", None, "app")),
        ((GROUP, USER, "adduser other app"), BOTH),
        ((GROUP, "useradd -u 10001 -g other app", "adduser app app"), BOTH),
    ],
)
def test_who_is_created(commands, expected):
    assert ids(*commands) == expected
