"""The application that a server serves: BENCH_APP is its case, BENCH_VARIANT its variant."""

import os

import cases

app = getattr(cases, os.environ["BENCH_APP"])(os.environ["BENCH_VARIANT"])
cases.discard_log()
