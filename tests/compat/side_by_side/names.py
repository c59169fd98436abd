"""The public names of every module: what can be imported, called and subclassed."""

import importlib
import inspect
import pkgutil
import types

import django
from django.conf import settings

import dockerflow
from dockerflow import checks

from .observe import encode, scenario

# The modules of python-dockerflow.
INCUMBENT = (
    "checks", "checks.messages", "checks.registry", "django", "django.apps", "django.checks",
    "django.middleware", "django.signals", "django.views", "fastapi", "fastapi.middleware",
    "fastapi.views", "flask", "flask.app", "flask.checks", "flask.checks.messages",
    "flask.signals", "health", "logging", "sanic", "sanic.app", "sanic.checks", "version",
)  # fmt: skip


# Modules that have the names of dockerflow.checks, too.
SAME_AS_CHECKS = {
    "checks.messages", "checks.registry", "flask.checks", "flask.checks.messages", "sanic.checks",
}  # fmt: skip


def parameters(function):
    """Return each parameter with its kind and default: those by position, then those by name."""
    try:
        listed = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    described = {}
    for parameter in listed:
        if parameter.name in {"self", "cls"}:
            continue
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        by_name = parameter.kind is parameter.KEYWORD_ONLY
        key = parameter.name if by_name else stars or str(len(described))
        described[key] = f"{stars}{parameter.name}{default}"
    return described


def attributes(kind):
    """Return the public attributes that dockerflow's own classes give this one."""
    return {
        name: described(vars(base)[name])
        for base in reversed(kind.__mro__)
        if base.__module__.startswith("dockerflow")
        for name in vars(base)
        if not name.startswith("_")
    }


def described(value):
    """Return what callers can see of one object."""
    if isinstance(value, type):
        bases = {
            base.__name__: True for base in value.__mro__[1:-1] if not base.__name__.startswith("_")
        }
        return {"bases": bases, "parameters": parameters(value), "attributes": attributes(value)}
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, types.FunctionType | types.MethodType):
        kind = "coroutine function" if inspect.iscoroutinefunction(value) else "function"
        return {"kind": kind, "parameters": parameters(value)}
    if type(value) in {set, frozenset, tuple, list, dict, str, int, bool, type(None)}:
        return encode(value)
    return f"<{type(value).__name__}>"


def own(value):
    """Whether the object was made by dockerflow, or is a constant in its module."""
    if isinstance(value, types.ModuleType):
        return value.__name__.startswith("dockerflow")
    if type(value) in {set, frozenset, tuple, list, dict, str, int, bool}:
        return True
    module = getattr(value, "__module__", None) or type(value).__module__
    return str(module).startswith("dockerflow")


def module_names(name):
    module = importlib.import_module(f"dockerflow.{name}")
    listed = {"own": {}, "imported": {}}
    for attribute in dir(module):
        if attribute.startswith("_") or attribute == "annotations":
            continue
        value = getattr(module, attribute)
        if isinstance(value, types.ModuleType):
            # A submodule is an attribute once somebody has imported it.
            kind = "own" if value.__name__ == f"{module.__name__}.{attribute}" else "imported"
            listed[kind][attribute] = "<module>"
        elif own(value):
            known = getattr(checks, attribute, None) if name in SAME_AS_CHECKS else None
            same = known is not None and known == value
            listed["own"][attribute] = "is the one of checks" if same else described(value)
        else:
            listed["imported"][attribute] = True
    return listed


@scenario
def modules():
    settings.configure(INSTALLED_APPS=["dockerflow.django"], DATABASES={}, BASE_DIR="/")
    django.setup()
    found = {
        module.name.removeprefix("dockerflow.")
        for module in pkgutil.walk_packages(dockerflow.__path__, "dockerflow.")
        if not module.name.endswith("__main__")
    }
    return {
        "new": {name: True for name in sorted(found - set(INCUMBENT)) if "._" not in f".{name}"},
        **{name: module_names(name) for name in INCUMBENT},
    }
