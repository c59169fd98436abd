"""Print the changelog's section of a version; fail if that version isn't ready to be released.

python .ci/release_notes.py v1.2.3 https://the.repository/it/is/released/from
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def read(root: Path, tag: str, repository: str) -> str:
    """Return the section's text; raise SystemExit with what is wrong."""
    source = (root / "src/dockerflow/__init__.py").read_text(encoding="utf-8")
    version = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)[0]
    if tag != f"v{version}":
        sys.exit(f"the tag is {tag}, but dockerflow.__version__ is {version}")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    url = project.get("urls", {}).get("Source")
    if url != repository:
        sys.exit(f"this is {repository}, but Source in pyproject.toml's project.urls is {url}")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## \[(.+)\](.*(?:\n(?!## ).*)*)", changelog, re.MULTILINE))
    if sections.get("Unreleased", "").strip():
        sys.exit("CHANGELOG.md has entries under Unreleased: move them into the version's section")
    first, _, text = sections.get(version, "").partition("\n")
    if not re.fullmatch(r" - \d{4}-\d\d-\d\d", first):
        sys.exit(f"CHANGELOG.md has no heading '## [{version}] - YYYY-MM-DD'")
    if not text.strip():
        sys.exit(f"CHANGELOG.md says nothing of {version}")
    return text.strip()


if __name__ == "__main__":
    print(read(ROOT, *sys.argv[1:]))
