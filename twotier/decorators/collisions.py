"""Find templates that can write one key: `user:{name}` of "bob:is_admin", and `user:{name}:is_admin` of "bob".

A template is a pattern: literals, and between them any text; in every field but the last, the text lacks the character
that ends the field. Two patterns have a text in common if the product of their automata reaches its end. The search
visits pairs of positions, at most the product of the patterns' lengths. A field whose parameter is annotated as int or
UUID holds only such text. A template that begins with a field, as a method's does, meets almost any other, so it is
compared only with templates that begin with a field.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from twotier.decorators.arguments import Function, name_of, parameters_of
from twotier.decorators.caches import AnyCache
from twotier.decorators.templates import Template, parse

Holds = Callable[[str], bool]
"""Returns True if the text of a field may contain a character."""
Pattern = list[str | Holds]
"""Characters, and fields."""

_TEXTS: Final[dict[object, frozenset[str]]] = {
    int: frozenset("-0123456789"),
    UUID: frozenset("-0123456789abcdef"),
}
"""The characters in the text of values of some types."""

_declared: WeakKeyDictionary[AnyCache, dict[str, tuple[str, Pattern]]] = WeakKeyDictionary()
"""Per cache and template: the name of the first function with that template, and the template's pattern."""


def warn_of_collision(cache: AnyCache, function: Function, text: str, stacklevel: int) -> None:
    """Warn if calls of `function`, cached by the template `text`, may have keys of a function declared before.

    Functions with one and the same template share their results on purpose.
    """
    declared = _declared.setdefault(cache, {})
    if text in declared:
        return
    name, pattern = name_of(function), pattern_of(parse(text, "key", parameters_of(function)), function)
    for other, (theirs, their_pattern) in declared.items():
        alike = callable(pattern[0]) == callable(their_pattern[0])
        if theirs != name and alike and meet(pattern, their_pattern):
            warnings.warn(
                f"{name} is cached under {text!r} and {theirs} under {other!r}: calls of both may have one key, and "
                "get each other's results; begin the templates with different words, as 'user:' and 'user-rights:', or "
                "annotate parameters that are int or UUID",
                stacklevel=stacklevel + 1,
            )
            break
    declared[text] = name, pattern


def pattern_of(template: Template, function: Function) -> Pattern:
    """Return the pattern of a template's keys."""
    pattern: Pattern = list(template.literals[0])
    last = len(template.fields) - 1
    for at, (field, literal) in enumerate(zip(template.fields, template.literals[1:], strict=True)):
        pattern += [_holds(function, field, "" if at == last else literal[0]), *literal]
    return pattern


def meet(one: Pattern, other: Pattern) -> bool:
    """Return True if the two patterns have a text in common.

    >>> anything = lambda character: True
    >>> meet([*"a:", anything], [*"a:", anything, *":b"]), meet([*"a:", anything], [*"b:", anything])
    (True, False)
    """
    end = len(one), len(other)
    seen, reached = {(0, 0)}, [(0, 0)]
    while reached:
        at = reached.pop()
        if at == end:
            return True
        for after in _steps(one, other, *at):
            if after not in seen:
                seen.add(after)
                reached.append(after)
    return False


def _steps(one: Pattern, other: Pattern, here: int, there: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs of positions reachable by one more character or the end of a field."""
    ours = one[here] if here < len(one) else None
    theirs = other[there] if there < len(other) else None
    if callable(ours):
        yield here + 1, there
        if isinstance(theirs, str) and ours(theirs):
            yield here, there + 1
    if callable(theirs):
        yield here, there + 1
        if isinstance(ours, str) and theirs(ours):
            yield here + 1, there
    if isinstance(ours, str) and ours == theirs:
        yield here + 1, there + 1


def _holds(function: Function, field: str, end: str) -> Holds:
    """Return a predicate for the characters in a field's text; escaping keeps `end` out of them."""
    characters = None
    if "." not in field:
        annotation: Any = inspect.signature(function).parameters[field].annotation
        kinds = {kind.__name__: characters for kind, characters in _TEXTS.items() if isinstance(kind, type)}
        characters = kinds.get(annotation) if isinstance(annotation, str) else _TEXTS.get(annotation)
    if characters is None:
        return lambda character: character != end
    return characters.__contains__
