"""Objects that belong to one process, with its connections and threads, and can't be copied or pickled."""

from typing import NoReturn


class ProcessBound:
    """Base of objects that `copy`, `deepcopy` and `pickle` refuse, with an error that names the alternative."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__qualname__} can't be copied or pickled, as its connections are this process's: "
            "share it, or make another one of the same target and options where it is needed"
        )
