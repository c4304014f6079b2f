"""Value types that are written as a number and plain arguments: how each is taken apart and made.

A payload never names a class. It gives the number of a `Builder`, and its arguments follow inline, exactly as many as
the builder takes. It checks that they are plain data of the right types, and makes its value. So no constructor gets
unexpected arguments, and no other part of a payload can be passed to a constructor a second time.
"""

import fractions
import functools
import ipaddress
import pathlib
from collections.abc import Callable
from typing import Any, Final

from twotier.codec.paths import make_path
from twotier.errors import SerializationError

MOST_BITS: Final = 1 << 16
"""Of a fraction's numerator or denominator: reducing longer ones takes long."""
MOST_RANGE_BITS: Final = 1 << 10
"""Of a range's numbers: to find its length, which range itself does, one is divided by another."""
_SEPARATORS: Final = "/\\"

FACTORIES: Final[tuple[Callable[[], Any] | None, ...]] = (
    *(None, list, dict, set, int, float, str, bool, tuple, bytes),
)  # fmt: skip
"""Default factories that a defaultdict may have; a payload holds the index in this list."""


class Builder:
    """Takes apart and makes values of one type; a payload holds `takes` arguments of one, each a str or an int."""

    __slots__ = ("kind", "make", "number", "take_apart", "takes", "weigh")

    def __init__(
        self,
        kind: type[Any],
        arguments: tuple[type, ...],
        take_apart: Callable[[Any], tuple[Any, ...]],
        make: Callable[..., Any],
        weigh: Callable[..., int],
    ) -> None:
        self.kind = kind
        self.number = 0
        """Its place in BUILDERS."""
        self.takes = len(arguments)
        self.take_apart = take_apart
        self.weigh = weigh

        def checked(*given: object) -> Any:
            if tuple(map(type, given)) != arguments:
                raise SerializationError(f"the payload makes a {kind.__name__} of what it isn't made of")
            return make(*given)

        self.make = checked


def _fraction_parts(value: fractions.Fraction) -> tuple[int, int]:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS:
        raise SerializationError(f"a Fraction of more than {MOST_BITS} bits can't be stored")
    return value.numerator, value.denominator


def _fraction(numerator: int, denominator: int) -> fractions.Fraction:
    if max(numerator.bit_length(), denominator.bit_length()) > MOST_BITS:
        raise SerializationError("the payload holds a fraction of absurd size")
    made = fractions.Fraction(numerator, denominator)
    if made.denominator != denominator:
        raise SerializationError("the payload holds a fraction that isn't reduced")
    return made


def _range_parts(value: range) -> tuple[int, int, int]:
    parts = value.start, value.stop, value.step
    if max(map(int.bit_length, parts)) > MOST_RANGE_BITS:
        raise SerializationError(f"a range of numbers of more than {MOST_RANGE_BITS} bits can't be stored")
    return parts


def _range(start: int, stop: int, step: int) -> range:
    if max(map(int.bit_length, (start, stop, step))) > MOST_RANGE_BITS:
        raise SerializationError("the payload holds a range of absurd size")
    return range(start, stop, step)


def _text(value: object) -> tuple[str]:
    return (str(value),)


def _address(kind: type[Any], weight: int) -> Builder:
    return Builder(kind, (str,), _text, kind, lambda text: weight + 8 * len(text))


def _path(kind: type[pathlib.PurePath]) -> Builder:
    return Builder(kind, (str,), _text, functools.partial(make_path, kind), _path_weight)


def _path_weight(text: str) -> int:
    return 1200 + 8 * len(text) + 160 * sum(map(text.count, _SEPARATORS))


BUILDERS: Final = (
    Builder(fractions.Fraction, (int, int), _fraction_parts, _fraction, lambda *_: 1000),
    Builder(range, (int, int, int), _range_parts, _range, lambda *_: 240),
    _address(ipaddress.IPv4Address, 800),
    _address(ipaddress.IPv6Address, 1600),
    _address(ipaddress.IPv4Network, 3000),
    _address(ipaddress.IPv6Network, 4000),
    _address(ipaddress.IPv4Interface, 5000),
    _address(ipaddress.IPv6Interface, 6000),
    _path(pathlib.PurePosixPath),
    _path(pathlib.PureWindowsPath),
    _path(pathlib.PosixPath),
    _path(pathlib.WindowsPath),
)
"""By number: their order is part of the format."""
for _number, _builder in enumerate(BUILDERS):
    _builder.number = _number
BY_TYPE: Final[dict[type, Builder]] = {builder.kind: builder for builder in BUILDERS}
"""By exact type: a subclass is another type, and isn't mistaken for its base."""
