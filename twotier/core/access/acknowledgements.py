"""Writes that wait for replicas (`wait_replicas`): WAIT goes with each write; too few acknowledgements are reported.

`Acknowledgements` wraps a writing flow, which is unaware of it: it adds WAIT to the flow's writes,
and strips WAIT's reply from theirs. A write that doesn't reach the primary isn't counted: that
write is in the journal.
"""

from typing import Any, TypeVar

from twotier.core.flow.drive import Flow
from twotier.core.namespace.counters import Counters
from twotier.errors import TooFewReplicas
from twotier.options import Options
from twotier.remote.commands.base import Write
from twotier.remote.commands.batch import Batch
from twotier.remote.commands.generations import WithGeneration
from twotier.remote.commands.replicas import Acknowledged, Replicated

R = TypeVar("R")


class Acknowledgements:
    """Asks for `options.wait_replicas` acknowledgements."""

    def __init__(self, options: Options, counters: Counters) -> None:
        self._wanted = options.wait_replicas
        self._patience = max(1, round(options.timeout * 500))  # half of a call's deadline, in ms
        self._raises = options.too_few_replicas == "raise"
        self._counters = counters

    def of(self, flow: Flow[R]) -> Flow[R]:
        """Run `flow`, and return its result; raise TooFewReplicas afterwards if the options say so."""
        fewest = self._wanted
        try:
            command = next(flow)
            while True:
                try:
                    result = yield self._asking(command)
                except BaseException as error:  # noqa: BLE001 - the flow decides
                    command = flow.throw(error)
                else:
                    if type(result) is Acknowledged:
                        result, replicas = result
                        fewest = min(fewest, replicas)
                    command = flow.send(result)
        except StopIteration as done:
            outcome: R = done.value
        if fewest < self._wanted:
            self._counters.few_replicas += 1
            if self._raises:
                raise TooFewReplicas(f"{fewest} of {self._wanted} replicas have the write; the primary has it")
        return outcome

    def _asking(self, command: Any) -> Any:
        first = command.commands[0] if isinstance(command, Batch) else command
        if isinstance(first, (WithGeneration, Write)):
            return Replicated(command, self._wanted, self._patience)
        return command
