"""The link: processes receive the invalidations of each other's writes, with proof that none is missing.

`message` holds the messages, `link` the protocol as a state machine without I/O, `listener` the thread that runs it.
"""
