"""Templates of keys and tags: `"user:{user_id}"`, checked once against a function's parameters.

A field names a parameter, or attributes of one (`{user.id}`), and is replaced by the plain text of the value. Several
fields could run into each other ("a:b" and "c" against "a" and "b:c"), so the character that ends a field is escaped
inside the field as in URLs: two calls get one key only if their texts are equal, field by field.
"""

import keyword
from collections.abc import Callable, Container
from dataclasses import dataclass
from string import Formatter


@dataclass(frozen=True, slots=True)
class Template:
    """Literals, and the fields between them: literal, field, literal, ..., field, literal."""

    literals: tuple[str, ...]
    fields: tuple[str, ...]
    """Parameters, or attributes of parameters, as Python expressions."""

    @property
    def names(self) -> set[str]:
        """The parameters that the template uses."""
        return {field.partition(".")[0] for field in self.fields}

    def filler(self) -> Callable[[list[str]], str]:
        """Return the function that puts a text in place of each field.

        >>> parse("{a}:{b}", "key", {"a", "b"}).filler()(["x:y", "1:2"])
        'x%3Ay:1:2'
        """
        form = "%s".join(literal.replace("%", "%%") for literal in self.literals)
        ends = [literal[0] for literal in self.literals[1:-1]]
        if not ends:
            return lambda texts: form % tuple(texts)

        def fill(texts: list[str]) -> str:
            texts[: len(ends)] = map(_escaped, texts, ends)
            return form % tuple(texts)

        return fill


def parse(text: str, what: str, parameters: Container[str]) -> Template:
    """Return the template written as `text`; TypeError or ValueError, which calls it `what`, if it is invalid.

    >>> parse("user:{user_id}", "key", {"user_id"}).fields
    ('user_id',)
    >>> parse("user:{id}", "key", {"user_id"})
    Traceback (most recent call last):
    ValueError: key 'user:{id}' names 'id', which is no parameter of the function
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str such as 'user:{{user_id}}', got {text!r}")
    if not text:
        raise ValueError(f"{what} must not be empty")
    literals, fields = [""], []
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{what} {text!r} can't be read: {error}") from None
    for literal, field, form, conversion in parsed:
        literals[-1] += literal
        if field is None:
            continue
        name = field.partition(".")[0]
        if form or conversion or not all(_is_name(part) for part in field.split(".")):
            raise ValueError(
                f"{what} {text!r} has the field {field!r}: it must be a parameter's name or attributes of one, as "
                "{user_id} or {user.id}, without a format"
            )
        if name not in parameters:
            raise ValueError(f"{what} {text!r} names {name!r}, which is no parameter of the function")
        fields.append(field)
        literals.append("")
    for field, literal in zip(fields[:-1], literals[1:-1], strict=True):
        if not literal or literal[0].isalnum() or literal[0] == "%":
            raise ValueError(f"{what} {text!r} needs a separator, such as ':', after {{{field}}}")
    return Template(tuple(literals), tuple(fields))


def _is_name(part: str) -> bool:
    return part.isidentifier() and not keyword.iskeyword(part)


def _escaped(text: str, end: str) -> str:
    if end in text or "%" in text:
        text = text.replace("%", "%25").replace(
            end, "".join(f"%{byte:02X}" for byte in end.encode("utf-8", "surrogatepass"))
        )
    return text
