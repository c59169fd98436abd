"""Compares what two environments observed."""

import fnmatch
import json
import re
import tempfile

ABSENT = "(absent)"
ANY = "(any)"

# What differs from run to run, and what stands for it. The random UUID stays told from other ids.
REPLACED = {
    re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"): "<uuid>",
    re.compile(r"\b[0-9a-f]{32}\b"): "<hex>",
    re.compile(re.escape(tempfile.gettempdir()) + r"/\w+"): "<folder>",
    re.compile(r" at 0x[0-9a-f]+"): "",
    re.compile(r" \d+ ms\b"): " <n> ms",
}
# The names of values that differ from run to run; only their types are compared.
VOLATILE = {"t", "Timestamp", "Pid", "Hostname"}


def differences(theirs, ours, path=""):
    """Yield (path, python-dockerflow's value, this package's) of each difference.

    What only one of them has is one difference, however much it contains.
    """
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            inner = f"{path}/{key.replace('/', '|')}" if path else key
            yield from differences(theirs.get(key, ABSENT), ours.get(key, ABSENT), inner)
    else:
        name = path.rpartition("/")[2]
        theirs, ours = settled(theirs, name), settled(ours, name)
        # 1 == True == 1.0, but they aren't logged alike.
        if json.dumps(theirs) != json.dumps(ours):
            yield path, theirs, ours


def settled(value, name):
    if isinstance(value, dict):
        return {key: settled(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [settled(item, name) for item in value]
    if name in VOLATILE and value != ABSENT:
        return f"<{type(value).__name__}>"
    if isinstance(value, str):
        for pattern, shown in REPLACED.items():
            value = pattern.sub(shown, value)
    return value


def sort(found, rules):
    """Return the differences that no rule lists, and the patterns that list none.

    :param rules: for each row of docs/migrating.md, patterns: a path with wildcards alone, or with
        both values. The first pattern that matches lists the difference.
    """
    patterns = [
        (pattern if isinstance(pattern, tuple) else (pattern, ANY, ANY))
        for row in rules.values()
        for pattern in row
    ]
    used = set()
    unlisted = []
    for path, theirs, ours in found:
        for number, pattern in enumerate(patterns):
            if fnmatch.fnmatchcase(path, pattern[0]) and matches(theirs, ours, *pattern[1:]):
                used.add(number)
                break
        else:
            unlisted.append((path, theirs, ours))
    return unlisted, [pattern for number, pattern in enumerate(patterns) if number not in used]


def matches(theirs, ours, before, after):
    return matches_one(theirs, before) and matches_one(ours, after)


def matches_one(value, pattern):
    """Whether a pattern is this value, or a text with wildcards that fits it."""
    both_texts = isinstance(value, str) and isinstance(pattern, str)
    return pattern in (ANY, value) or (both_texts and fnmatch.fnmatchcase(value, pattern))
