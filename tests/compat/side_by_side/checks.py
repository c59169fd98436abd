"""Checks without a framework: messages, the registry, runs."""

import asyncio
import dataclasses
import functools
import logging
import warnings

from dockerflow import checks
from dockerflow.checks import registry

from .observe import RECORDS, attempt, encode, scenario, warned


def shown(message):
    return {
        "level": message.level,
        "msg": message.msg,
        "hint": message.hint,
        "obj": encode(message.obj),
        "id": message.id,
        "str": str(message),
        "repr": repr(message),
        "serious": message.is_serious(),
        "serious at 30": message.is_serious(30),
        "serious by name": message.is_serious(level=checks.CRITICAL),
    }


def results(run):
    return {"level": run.level, "statuses": run.statuses, "details": run.details}


def ok():
    return []


def warning():
    return [checks.Warning("low", id="app.W001", hint="more", obj="disk")]


def error():
    return [checks.Error("down", id="app.E001"), checks.Info("known", id="app.I001")]


def critical():
    return [checks.Critical("gone", id="app.C001")]


@scenario
def messages():
    class Own(checks.CheckMessage):
        level = checks.WARNING

    class Severe(checks.Error):
        level = checks.CRITICAL

    class Named(checks.Error):
        def __init__(self, name):
            super().__init__(f"{name} is down", id="app.E009")

    made = {
        "by position": lambda: checks.CheckMessage("a", 40, "hint", "obj", "id"),
        "level by position": lambda: checks.Error("a", 50, "hint", "obj", "id"),
        "level by name": lambda: checks.Error("a", level=50),
        "level as text": lambda: checks.Error("a", level="30"),
        "level 0": lambda: checks.Error("a", level=0),
        "level None": lambda: checks.Error("a", None, "hint"),
        "unusual level": lambda: checks.CheckMessage("a", 25),
        "hint by name": lambda: checks.Info("a", hint="hint"),
        "subclass": lambda: Own("a"),
        "subclass of Error": lambda: Severe("a", hint="h"),
        "subclass with a constructor": lambda: Named("search"),
        "object": lambda: checks.Debug("a", obj=object),
        "not a text": lambda: checks.Warning(42, id="app.W042"),
    }
    seen = {name: attempt(lambda make=make: shown(make())) for name, make in made.items()}
    seen["without level"] = attempt(lambda: shown(checks.CheckMessage("a")))
    seen["class attributes"] = {
        kind.__name__: attempt(lambda kind=kind: kind.level)
        for kind in (checks.CheckMessage, checks.Debug, checks.Info, checks.Warning, checks.Error,
                     checks.Critical)
    }  # fmt: skip
    first = checks.Error("a", hint="h", id="x")
    seen["comparison"] = {
        "equal": first == checks.Error("a", hint="h", id="x"),
        "other hint": first == checks.Error("a", id="x"),
        "other kind": first == checks.Warning("a", hint="h", id="x"),
        "other kind, same level": checks.CheckMessage("a", 40, "h", None, "x") == first,
        "not equal": first != checks.Error("b"),
        "a text": first == "a",
        "hash": attempt(lambda: bool(hash(first))),
    }
    changed = checks.Error("a")
    seen["changed"] = attempt(lambda: setattr(changed, "level", 20) or shown(changed))
    seen["own attribute"] = attempt(lambda: setattr(changed, "team", "x") or changed.team)
    seen["texts"] = {str(n): checks.level_to_text(n) for n in (0, 10, 20, 25, 30, 40, 50, 60, -1)}
    seen["levels"] = encode(checks.STATUSES)
    return seen


@scenario
def registering():
    @checks.register
    def bare():
        """Bare."""
        return []

    @checks.register()
    def called():
        return []

    @checks.register(name="by name")
    def named():
        return []

    @checks.register(None, "by position")
    def positional():
        return []

    @checks.register
    async def asynchronous():
        return []

    def partial(one, two):
        return [checks.Info(f"{one} {two}", id="app.I002")]

    checks.register_partial(partial, 1, 2)
    checks.register_partial(partial, 3, 4, name="other")
    returned = checks.register(warning)
    return {
        "names": list(checks.get_checks()),
        "is a dict": isinstance(checks.get_checks(), dict),
        "the same each time": checks.get_checks() is checks.get_checks(),
        "types": sorted({callable(check) for check in checks.get_checks().values()}),
        "decorated": {"name": bare.__name__, "doc": bare.__doc__, "called": encode(bare())},
        "returned": returned is warning,
        "wrapped": attempt(lambda: returned.__wrapped__ is warning),
        "asynchronous": encode(asyncio.run(asynchronous())),
        "partial": [str(message) for message in checks.get_checks()["other"]()],
        "register_partial": attempt(
            lambda: [str(m) for m in checks.register_partial(partial, 5, 6, name="third")()]
        ),
        "a partial without a name": attempt(
            lambda: checks.register(functools.partial(partial, 1, 2))
        ),
    }


class Service:
    def __init__(self, text):
        self.text = text

    def check(self):
        return [checks.Info(self.text, id="app.I003")]


@scenario
def registering_again():
    """As in lifespans, application factories and fixtures."""
    seen = {}

    def last(name):
        return [message.msg for message in checks.get_checks()[name]()]

    def register(text):
        def inner():
            return [checks.Info(text, id="i")]

        return {
            "bound": lambda: checks.register(Service(text).check, name="bound"),
            "partial": lambda: checks.register_partial(
                lambda text: [checks.Info(text, id="i")], text, name="partial"
            ),
            "inner": lambda: checks.register(inner),
        }

    for text in ("first", "second"):
        for name, call in register(text).items():
            seen[name] = attempt(lambda name=name, call=call: call() and last(name))

    def other():
        return [checks.Info("other", id="i")]

    seen["other function"] = attempt(lambda: checks.register(other, name="inner") and last("inner"))
    seen["names"] = list(checks.get_checks())
    return seen


@scenario
def registry_changed_in_place():
    checks.register(ok)
    checks.register(warning)
    checks.register(error)
    known = checks.get_checks()
    seen = {
        "pop": attempt(lambda: bool(known.pop("ok")) and list(checks.get_checks())),
        "del": attempt(lambda: known.__delitem__("warning") or list(checks.get_checks())),
        "set": attempt(lambda: known.__setitem__("new", ok) or list(checks.get_checks())),
        "update": attempt(lambda: known.update(newer=ok) or list(checks.get_checks())),
        "clear": attempt(lambda: known.clear() or list(checks.get_checks())),
    }
    checks.register(ok)
    checks.clear_checks()
    seen["clear_checks"] = list(checks.get_checks())
    return seen


@scenario
def runs():
    named = [("ok", ok), ("warning", warning), ("error", error)]
    seen = {
        "sync": results(checks.run_checks(named)),
        "a generator": results(checks.run_checks(pair for pair in named)),
        "silenced": results(checks.run_checks(named, ["app.E001"])),
        "silenced by name": results(checks.run_checks(named, silenced_check_ids={"app.E001"})),
        "silenced all": results(checks.run_checks([("w", warning)], ("app.W001",))),
        "none": results(checks.run_checks([])),
        "critical": results(checks.run_checks([("c", critical)])),
        "async": results(asyncio.run(checks.run_checks_async(named))),
        "async silenced": results(
            asyncio.run(checks.run_checks_async(named, silenced_check_ids=["app.W001"]))
        ),
    }

    async def later():
        await asyncio.sleep(0)
        return [checks.Warning("later", id="app.W002")]

    seen["async check"] = results(asyncio.run(checks.run_checks_async([("later", later)])))
    seen["async check without a loop"] = attempt(
        lambda: results(checks.run_checks([("later", later)]))
    )
    seen["type"] = type(checks.run_checks([])).__name__
    seen["same type"] = isinstance(checks.run_checks([]), registry.ChecksResults)
    seen["as a dictionary"] = attempt(lambda: dataclasses.asdict(checks.run_checks([])))
    seen["equal"] = checks.run_checks([]) == checks.run_checks([])
    return seen


@scenario
def unusual_results():
    class Own(checks.CheckMessage):
        level = checks.WARNING

    def twice():
        return [checks.Error("one", id="app.E1"), checks.Warning("two", id="app.E1")]

    def raises():
        raise ValueError("no")

    given = {
        "twice": twice,
        "raises": raises,
        "own class": lambda: [Own("own", id="app.W7")],
        "level 60": lambda: [checks.CheckMessage("a", 60, id="x")],
        "level 25": lambda: [checks.CheckMessage("a", 25, id="x")],
        "tuple": lambda: (checks.Error("a", id="x"),),
        "no id": lambda: [checks.Error("a")],
        "two without id": lambda: [checks.Error("a"), checks.Error("b")],
        "None": lambda: None,
        "one message": lambda: checks.Error("a", id="x"),
        "text": lambda: "down",
        "number": lambda: 1,
        "a message that isn't a text": lambda: [checks.Error(ValueError("v"), id="x")],
    }

    def generator():
        yield checks.Error("a", id="x")

    given["generator"] = generator
    seen = {}
    for name, check in given.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = attempt(lambda check=check: results(checks.run_checks([("check", check)])))
        seen[name] = {"result": result, "records": RECORDS.take()}
    return seen


@scenario
def names_that_are_imported_from_the_modules():
    return {
        "message": registry.CheckMessage is checks.CheckMessage,
        "text": registry.level_to_text is checks.level_to_text,
        "results": attempt(lambda: registry.ChecksResults(details={}, statuses={}, level=0).level),
        "positional": attempt(lambda: registry.ChecksResults({}, {"a": "ok"}, 30).statuses),
        "logger": registry.logger.name,
    }


@scenario
def flask_messages_module():
    with warned() as categories:
        from dockerflow.flask.checks import messages as moved
    return {"warned": categories, "error": moved.Error is checks.Error, "texts": moved.STATUSES[0]}


@scenario
def debug_records():
    logging.getLogger().setLevel(logging.DEBUG)
    checks.register(ok)
    checks.register_partial(lambda text: [], "x", name="partial")
    seen = {"registered": RECORDS.take()}
    checks.run_checks(checks.get_checks().items())
    seen["called"] = RECORDS.take()
    return seen
