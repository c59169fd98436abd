"""Run each scenario of one module in a process of its own, and print what they observed."""

import importlib
import json
import multiprocessing
import sys
import warnings

from . import observe


def run(scenario, connection):
    connection.send(observe.run(scenario))


def main():
    importlib.import_module(f"{__package__}.{sys.argv[1]}")
    # What a scenario patches, registers or configures ends with its process.
    fork = multiprocessing.get_context("fork")
    result = {}
    for name, scenario in observe.SCENARIOS.items():
        receiver, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=run, args=(scenario, sender))
        process.start()
        sender.close()
        try:
            result[name] = receiver.recv()
        except EOFError:
            result[name] = {"observed": {"raised": "the process ended"}}
        process.join()
    json.dump(result, sys.stdout)


warnings.simplefilter("ignore")
main()
