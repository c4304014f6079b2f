"""Types of a user's, for allow=."""

import dataclasses
import enum


class Colour(enum.Enum):
    RED = 1
    BLUE = (2, "b")


@dataclasses.dataclass
class Point:
    x: object
    friends: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: object
    y: object = None


class Bag(list):
    pass


class Table(dict):
    pass


TYPES = [Colour, Point, Frozen, Bag, Table]
