"""Draining step by step: the test answers each command."""

from twotier.core.flow.requests import Load


def exhaust(drainer, run):
    """Step a drainer for ever."""
    while True:
        drive_with(drainer.step(), run)


def drive_with(flow, run):
    """Run a flow whose commands are answered by `run`."""
    reply, error = None, None
    try:
        while True:
            command = flow.send(reply) if error is None else flow.throw(error)
            reply, error = None, None
            try:
                reply = command.loader() if isinstance(command, Load) else run(command)
            except Exception as raised:  # noqa: BLE001 - the flow decides
                error = raised
    except StopIteration as done:
        return done.value
