"""What belongs to one process, with its connections and threads, and can be neither copied nor pickled."""

from typing import NoReturn


class ProcessBound:
    """Base of what `copy`, `deepcopy` and `pickle` refuse, in words that say what to do instead."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__qualname__} can't be copied or pickled, as its connections are this process's: "
            "share it, or make another one of the same target and options where it is needed"
        )
