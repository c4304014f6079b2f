"""The cache keys of a function's calls: by a template, or made of all arguments."""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, Final

from twotier.decorators.arguments import Binder, Function, binder, name_of, parameters_of, positions
from twotier.decorators.templates import parse
from twotier.decorators.text import UnstableError, plain_text, stable_text

LONGEST: Final = 250
"""Most characters in a key made of all arguments; a longer key is hashed."""
DIGEST_BYTES: Final = 20


class Writer:
    """Writes a str from a call's arguments: the text of each field's value, put together."""

    __slots__ = ("_bind", "_fields", "_function", "_put_together", "_text", "skipped")

    def __init__(
        self,
        function: Function,
        fields: tuple[str, ...],
        text: Callable[[Any], str],
        put_together: Callable[[list[str]], str],
    ) -> None:
        parameters = parameters_of(function)
        unused = parameters.keys() - {field.partition(".")[0] for field in fields}
        self.skipped = positions(parameters, unused)
        """Positions of the arguments that don't count."""
        self._function = function
        self._fields = fields
        self._bind: Binder = binder(function, parameters, fields)
        self._text = text
        self._put_together = put_together

    @property
    def constant(self) -> str | None:
        """The str for every call, whatever its arguments; None if arguments count."""
        return None if self._fields else self._put_together([])

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return the str for a call; TypeError if the function can't be called so, or an argument has no text."""
        values = self._bind(*args, **kwargs)
        try:
            return self._put_together([self._text(value) for value in values])
        except (UnstableError, RecursionError):
            self._blame(values)
            raise

    def _blame(self, values: tuple[Any, ...]) -> None:
        for field, value in zip(self._fields, values, strict=True):
            try:
                self._text(value)
            except UnstableError as error:
                found = str(error)
            except RecursionError:
                found = "what nests too deeply for a text"
            else:
                continue
            advice = "write the key of such calls as a template, key=..., of arguments or attributes that have one"
            if self._text is stable_text:
                advice += f"; or, if it doesn't bear on the result, leave it out: ignore=({field!r},)"
            raise TypeError(f"{name_of(self._function)}: argument {field!r} is or holds {found}; {advice}") from None


def by_template(function: Function, text: str, what: str, ignore: Iterable[str] = ()) -> Writer:
    """Return a writer of the template `text` for `function`; errors call it `what`; `ignore` may name no field.

    >>> def load(user_id, full=False): ...
    >>> by_template(load, "user:{user_id}", "key")((7,), {})
    'user:7'
    """
    template = parse(text, what, parameters_of(function))
    if contradicted := _checked(function, ignore) & template.names:
        raise ValueError(f"ignore names {min(contradicted)!r}, which is a field of {what} {text!r}")
    return Writer(function, template.fields, plain_text, template.filler())


def by_arguments(function: Function, ignore: Iterable[str]) -> Writer:
    """Return a writer of keys made of all arguments of `function`, defaults included, except those in `ignore`.

    >>> def load(user_id, full=False): ...
    >>> by_arguments(load, ())((7,), {}).rpartition(".")[2]
    'load(user_id=7,full=False)'
    """
    ignored = _checked(function, ignore)
    prefix = name_of(function)
    names = tuple(name for name in parameters_of(function) if name not in ignored)
    form = prefix.replace("%", "%%") + f"({','.join(f'{name}=%s' for name in names)})"

    def put_together(texts: list[str]) -> str:
        key = form % tuple(texts)
        if len(key) <= LONGEST:
            return key
        return f"{prefix}({blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=DIGEST_BYTES).hexdigest()})"

    return Writer(function, names, stable_text, put_together)


def _checked(function: Function, ignore: Iterable[str]) -> set[str]:
    ignored = set(ignore)
    unknown = ignored - parameters_of(function).keys()
    if unknown:
        raise ValueError(f"ignore names {min(unknown)!r}, which is no parameter of {name_of(function)}")
    return ignored
