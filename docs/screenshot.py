"""Make images/verify.svg: what `dockerflow verify` prints on a terminal, colours and all.

The app is that of start/fastapi.md; its Dockerfile, below, lacks one line. Run it by
`make screenshot` after a change of what the command prints.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
WIDTH = 100
COMMAND = (
    "dockerflow verify --dockerfile Dockerfile --break UPLOADS=/nowhere "
    "-- sh -c 'exec uvicorn --host 0.0.0.0 --port $PORT app:app'"
)
DOCKERFILE = """\
FROM python:3.13-slim
RUN groupadd --gid 10001 app && useradd --uid 10001 --gid app --home /app app
COPY . /app
WORKDIR /app
RUN pip install --no-cache-dir "dockerflow-middleware[fastapi]" uvicorn
ENV PORT=8000
EXPOSE 8000
ENTRYPOINT ["sh", "-c"]
CMD ["exec uvicorn --host 0.0.0.0 --port $PORT app:app"]
"""


def run_on_a_terminal(folder: Path) -> str:
    """Return what the command prints where it sees a terminal."""
    output = bytearray()
    before = Path.cwd()
    os.chdir(folder)
    os.environ |= {
        "COLUMNS": str(WIDTH),
        "TERM": "xterm-256color",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def read(terminal: int) -> bytes:
        data = os.read(terminal, 1024)
        output.extend(data)
        return b"\0" * bool(data)  # nothing for the maker's own terminal

    sys.stdout.flush()
    try:
        pty.spawn(shlex.split(COMMAND), read)
    finally:
        os.chdir(before)
    return output.decode().replace("\r\n", "\n")


def main() -> None:
    """Write the image."""
    page = (HERE / "start" / "fastapi.md").read_text("utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for caption, text in re.findall(
            r"^```\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)^```$", page, re.DOTALL | re.MULTILINE
        ):
            (folder / caption).write_text(text, "utf-8")
        (folder / "uploads").mkdir()
        (folder / "Dockerfile").write_text(DOCKERFILE, "utf-8")
        printed = run_on_a_terminal(folder)
    # Without the lines of progress, which the terminal has wiped out.
    printed = printed[printed.rindex("Dockerflow: ") :]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    shown = COMMAND.replace(" -- ", " \\\n    -- ")
    console.print(f"$ {shown}", style="bold", highlight=False)
    console.print(Text.from_ansi(printed))
    # No fonts from elsewhere: the reader's own do.
    template = re.sub(r"\s*@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    svg = console.export_svg(title="dockerflow verify", code_format=template, unique_id="verify")
    target = HERE / "images" / "verify.svg"
    target.write_text(svg, "utf-8")
    print(f"{target}: {len(svg)} bytes")


if __name__ == "__main__":
    main()
