"""The tags of a function's results: those of its templates, and one that all results carry and `cache_clear` uses."""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, Final

from twotier.core.tags.tag_index import MAX_TAG_BYTES, checked_tags
from twotier.decorators.arguments import Function
from twotier.decorators.keys import Writer, by_template

OWN: Final = "cached:"
"""Prefix of the tag that all results of a function carry."""

Tags = Callable[[tuple[Any, ...], dict[str, Any]], tuple[str, ...]]
"""Tells the tags of a call."""


def own_tag(what: str) -> str:
    """Return the tag that all results of a function carry; `what`: its name, or the template of its keys.

    >>> own_tag("user:{user_id}")
    'cached:user:{user_id}'
    """
    tag = f"{OWN}{what}"
    encoded = tag.encode("utf-8", "surrogatepass")
    return tag if len(encoded) <= MAX_TAG_BYTES else OWN + blake2b(encoded, digest_size=20).hexdigest()


def by_templates(function: Function, tags: Iterable[str], own: str | None) -> Tags:
    """Return the function that computes the tags of a call of `function`: `own`, and one per template in `tags`.

    >>> def load(user_id): ...
    >>> by_templates(load, ["users", "user:{user_id}"], None)((7,), {})
    ('users', 'user:7')
    """
    constant: tuple[str, ...] = () if own is None else (own,)
    writers: list[Writer] = []
    for template in tags:
        writer = by_template(function, template, "tag")
        if writer.constant is None:
            writers.append(writer)
        else:
            constant += (writer.constant,)
    constant = checked_tags(constant)
    if not writers:
        return lambda args, kwargs: constant  # noqa: ARG005 - no argument counts
    return lambda args, kwargs: (*constant, *[write(args, kwargs) for write in writers])
