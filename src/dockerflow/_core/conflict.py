"""Detects python-dockerflow installed alongside; both provide the package ``dockerflow``.

Its distribution is called ``dockerflow``. Its files have the paths of ours, so installing it
overwrites ours, and uninstalling it removes them. Must be imported first: later imports may load
another distribution's files.
"""

import dockerflow

FIX = "pip uninstall dockerflow dockerflow-middleware, then pip install dockerflow-middleware"

# python-dockerflow's __init__ has no version.
if not hasattr(dockerflow, "__version__"):
    raise ImportError(
        "files of dockerflow-middleware were overwritten or removed when the distribution "
        "'dockerflow' (python-dockerflow), whose import package has the same name, was installed "
        f"or removed beside it. To fix it: {FIX}"
    )


def warning() -> str | None:
    """Return a warning if that distribution is installed too, though our files are intact.

    For the command only: importing importlib.metadata would delay every app's start.
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
