"""The link: how processes hear of each other's writes, and how they know that they hear everything.

`message` is what is said, `link` the protocol as a state machine without I/O, `listener` the thread that runs it.
"""
