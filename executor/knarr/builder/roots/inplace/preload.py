"""Loads all the code that a build may come to need, while nobody else can have changed it.

A build that takes the place of `/` runs its steps as the user who owns the interpreter's files, in the same
file system: whatever the executor loads after the first of them could be theirs.
"""

import importlib
import pkgutil

import knarr

# What libraries load only when it is used.
_LOADED_LATE = (
    "encodings.idna",
    "encodings.latin_1",
    "httpcore2._sync.http_proxy",
    "httpcore2._sync.http11",
    "httpx2",
    "stringprep",
    "traceback",
)


def load_everything() -> None:
    """Import every module of knarr, and those that its libraries put off. Raises ImportError.

    For a process that has read its command line: what typer needs for that is loaded then.
    """
    for module in pkgutil.walk_packages(knarr.__path__, "knarr."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    for name in _LOADED_LATE:
        importlib.import_module(name)
