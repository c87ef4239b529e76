"""Imports an Executor by its path, `module:attribute`."""

import importlib
import importlib.util
import os
import sys
import traceback

from kaiju_tasks.executor.registry import Executor

__all__ = ["LoadError", "load_executor"]


class LoadError(Exception):
    """There is no Executor at that path. The message describes what was found."""


def load_executor(path: str) -> Executor:
    """Import an executor from the working directory or an installed package.

    :param path: `module:attribute`, such as `billing.tasks:executor`
    :raises LoadError: the module or the attribute does not exist, the attribute is not an
        Executor, or the module cannot be imported
    """
    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise LoadError(
            f"`{path}` must have the form module:attribute, as in billing.tasks:executor"
        )
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    found = getattr(_module(module_name), attribute, None)
    if isinstance(found, Executor):
        return found
    raise LoadError(_mismatch(module_name, attribute, found))


def _module(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise LoadError(
                f"there is no module `{error.name}`, neither in {os.getcwd()} nor installed"
            ) from None
        raise _broken(name, error) from error
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> LoadError:
    places = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in (__file__, importlib.__file__)
        and not frame.filename.startswith("<frozen")
    ]
    if isinstance(error, SyntaxError):
        places.append(f"{error.filename}:{error.lineno}")
    reason = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    return LoadError(f"the module `{name}` cannot be imported: {reason} ({', then '.join(places)})")


def _mismatch(module_name: str, attribute: str, found: object) -> str:
    module = vars(sys.modules[module_name])
    names = [name for name, value in module.items() if isinstance(value, Executor)]
    hint = f"; it has: {', '.join(names)}" if names else "; it has no Executor"
    if found is None:
        return f"the module `{module_name}` has no `{attribute}`{hint}"
    return f"`{module_name}:{attribute}` is a {type(found).__name__}, not an Executor{hint}"
