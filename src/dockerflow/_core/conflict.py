"""Tells of python-dockerflow beside this package: both own the import package ``dockerflow``.

Its distribution is called ``dockerflow``. Each of its files has the path of one of ours, so that
installing it overwrites ours, and uninstalling it removes them.
"""

import dockerflow

FIX = "pip uninstall dockerflow dockerflow-middleware, then pip install dockerflow-middleware"

# What tells costs nothing at import: python-dockerflow's __init__ has no version.
if not hasattr(dockerflow, "__version__"):
    raise ImportError(
        "files of dockerflow-middleware were overwritten or removed when the distribution "
        "'dockerflow' (python-dockerflow), whose import package has the same name, was installed "
        f"or removed beside it. To fix it: {FIX}"
    )


def warning() -> str | None:
    """Return what to say where that distribution is installed too, though our files are whole.

    Takes some milliseconds: for commands, not for an app's start.
    """
    from importlib import metadata

    try:
        version = metadata.version("dockerflow")
    except metadata.PackageNotFoundError:
        return None
    return (
        f"the distribution 'dockerflow' {version} (python-dockerflow) is installed beside "
        "dockerflow-middleware, and removing or updating it will break this package. "
        f"To fix it: {FIX}"
    )
