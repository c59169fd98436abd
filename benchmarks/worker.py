"""One variant of one case, in a process of its own: does it n times for each number on stdin."""

import gc
import sys
import time

import cases

name, _, argument = sys.argv[1].partition(":")
variant = sys.argv[2]
run = getattr(cases, name)(variant, *([int(argument)] if argument else []))
clock = time.perf_counter if sys.argv[3] == "wall" else time.process_time
run(1)
lines = cases.discard_log()
print("lines", len(lines), *sorted(lines[0]["Fields"] if lines else ()))
print("ready", flush=True)
for line in sys.stdin:
    gc.collect()
    started = clock()
    run(int(line))
    print("took", clock() - started, flush=True)
