"""Binders: functions that take a call's arguments and return the values of chosen parameters.

A binder is generated once, as Python source: `def load(user, page=_2, *args): return (user.id, page)`. The
interpreter then binds arguments to parameters, at a tenth of the cost of `inspect.Signature.bind`, and a
call that doesn't fit raises the error that the function itself would raise.
"""

import inspect
from collections.abc import Callable, Sequence
from inspect import Parameter
from typing import Any, Final

Function = Callable[..., Any]
Binder = Callable[..., tuple[Any, ...]]
"""Takes a function's arguments and returns values made of them."""

_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def parameters_of(function: Function) -> dict[str, Parameter]:
    """Return the parameters of `function` by name; TypeError if it has no signature."""
    try:
        return dict(inspect.signature(function).parameters)
    except ValueError as error:
        raise TypeError(f"{name_of(function)} can't be cached, as it doesn't tell its parameters: {error}") from None


def name_of(function: Function) -> str:
    """Return a function's name in keys and messages: its module and its qualified name."""
    name = getattr(function, "__qualname__", None)
    return f"{function.__module__}.{name}" if isinstance(name, str) else repr(function)


def binder(function: Function, parameters: dict[str, Parameter], expressions: Sequence[str]) -> Binder:
    """Make the function that binds a call's arguments to `parameters` and returns the values of `expressions`.

    `expressions` are names of parameters, or attributes of them (`user.id`), checked by the caller.

    >>> def load(user_id, full=False): ...
    >>> binder(load, parameters_of(load), ["full", "user_id"])(7)
    (False, 7)
    """
    defaults: dict[str, Any] = {}
    written = []
    kinds = [parameter.kind for parameter in parameters.values()]
    for number, (name, parameter) in enumerate(parameters.items()):
        kind = parameter.kind
        if kind is Parameter.KEYWORD_ONLY and Parameter.KEYWORD_ONLY not in kinds[:number]:
            written += [] if Parameter.VAR_POSITIONAL in kinds else ["*"]
        stars = "*" if kind is Parameter.VAR_POSITIONAL else "**" if kind is Parameter.VAR_KEYWORD else ""
        default = ""
        if parameter.default is not Parameter.empty:
            defaults[f"_{number}"] = parameter.default
            default = f"=_{number}"
        written.append(f"{stars}{name}{default}")
        if kind is Parameter.POSITIONAL_ONLY and kinds[number + 1 : number + 2] != [kind]:
            written.append("/")
    code = f"def bind({', '.join(written)}): return ({''.join(f'{expression}, ' for expression in expressions)})"
    exec(code, defaults)  # noqa: S102 - names of parameters, which are identifiers, and nothing else
    bind: Any = defaults["bind"]
    bind.__name__ = getattr(function, "__name__", "function")
    bind.__qualname__ = getattr(function, "__qualname__", bind.__name__)
    return bind  # type: ignore[no-any-return]


def positions(parameters: dict[str, Parameter], names: set[str]) -> list[int]:
    """Return the positions of those parameters in `names` that a call can pass by position."""
    return [
        position
        for position, parameter in enumerate(parameters.values())
        if parameter.kind in _POSITIONAL and parameter.name in names
    ]
