"""The exceptions of twotier, one tree. The remote layer maps redis-py's exceptions to these at its boundary."""


class TwoTierError(Exception):
    """Base of every error that twotier raises by itself."""


class ConfigurationError(TwoTierError, ValueError):
    """An invalid option or URL; the message names it, the given value and the expected one."""


class SerializationError(TwoTierError):
    """A value that the codec can't take, or that is larger than `max_value_bytes`; nothing was stored."""


class RemoteError(TwoTierError):
    """The remote tier refused a command (wrong type, no permission, out of memory, read-only replica)."""


class AccessDenied(RemoteError):  # noqa: N818 - the field's name
    """The server refuses our user name or password, or denies our user a command, key or channel (ACL)."""


class RemoteTimeout(RemoteError):  # noqa: N818 - the field's name, as in socket.timeout
    """The remote tier didn't answer within the call's deadline: whether a write took place is unknown."""


class RemoteUnavailable(RemoteError):  # noqa: N818 - the field's name
    """The remote tier can't be reached, or the circuit breaker is open; a write may or may not have arrived."""


class TooFewReplicas(RemoteError):  # noqa: N818 - the field's name
    """Fewer replicas than `wait_replicas` had a write in time; the primary has it, and a failover may lose it."""


class LoaderError(TwoTierError):
    """Several loaders failed in one call; `__cause__` is an ExceptionGroup of their errors."""


class BacklogFull(TwoTierError):  # noqa: N818 - as queue.Full
    """A write-behind has `max_backlog` writes waiting, and none got through within `max_wait`; nothing was written."""


class WritesLost(TwoTierError):  # noqa: N818 - as above
    """The server has lost writes of a write-behind that it had acknowledged, and that haven't reached the source."""


class LoadTimeout(TwoTierError, TimeoutError):  # noqa: N818 - the field's name, as above
    """A loader took longer than `hard_timeout`; the loader goes on, and its result is stored."""


class LoadShed(TwoTierError):  # noqa: N818 - the field's name
    """As many loaders run as `max_concurrent_loads` allows, and `when_busy="shed"` says not to wait."""
