# ReplyReader reads server replies as `twotier/replies.py` does; that file describes accepted and refused input.
#
# Replies are parsed in the caller's buffer. Incomplete input is kept in our own buffer, which grows with the received
# bytes, at most by doubling, and never to an announced length. An incomplete aggregate is a list on `stack`. Making
# objects may run the garbage collector, and so foreign code: while `busy`, no other call may feed the reader, and both
# buffers stay where they are.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memchr

from twotier import resp
from twotier.resp import ProtocolError, Push, TooLargeError, error_reply, is_key, scalar

cdef enum:
    DEEPEST = 64         # levels with room on the stack; MAX_DEPTH is the accepted depth
    LENGTH_DIGITS = 10
    SHORT_INTEGER = 18   # digits of an integer that fits into 64 bits whatever they are
    KEPT_ROOM = 1 << 16  # a larger buffer is given back once it is empty

cdef Py_ssize_t longest_line = resp.MAX_LINE
cdef int most_depth = min(resp.MAX_DEPTH, DEEPEST)


@cython.final
cdef class ReplyReader:
    """The parser of one connection's bytes."""

    cdef char* own
    cdef Py_ssize_t held, room, missing
    cdef Py_ssize_t longest, largest, most_elements
    cdef Py_ssize_t size, count
    cdef int depth
    cdef Py_ssize_t skipping  # bytes still to come of a string that is too long
    cdef bint busy, broken, skips
    cdef unsigned char[DEEPEST] kinds
    cdef Py_ssize_t[DEEPEST] left
    cdef list stack

    def __cinit__(
        self,
        *,
        Py_ssize_t longest=resp.MAX_BULK,
        Py_ssize_t largest=resp.MAX_BULK,
        Py_ssize_t elements=resp.MAX_ELEMENTS,
        bint skips=False,
    ):
        self.skips = skips
        self.longest, self.largest, self.most_elements = longest, largest, elements
        self.stack = []

    def __dealloc__(self):
        free(self.own)

    def feed(self, data, Py_ssize_t length=-1):
        """Take `data`, or its first `length` bytes; return the replies that are whole now."""
        cdef Py_buffer view
        cdef list replies = []
        if self.busy:
            raise RuntimeError("a reader is fed by one caller at a time")
        if self.broken:
            raise ProtocolError("earlier bytes on this connection weren't RESP")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        self.busy = self.broken = True  # unless all goes well
        try:
            if length < 0 or length > view.len:
                length = view.len
            self.take(<const char*> view.buf, length, replies)
            self.broken = False
        finally:
            self.busy = False
            PyBuffer_Release(&view)
        return replies

    @property
    def idle(self):
        """Whether every byte so far belonged to a reply that is whole."""
        return not (self.held or self.depth or self.skipping)

    cdef int take(self, const char* data, Py_ssize_t length, list replies) except -1:
        """Parse the replies that `data` completes, and keep the rest."""
        cdef Py_ssize_t used
        if not self.held:
            used = self.parse(data, length, replies)
            if used < length:
                self.keep(data + used, length - used)
            return 0
        self.keep(data, length)
        self.missing -= length
        if self.missing > 0:
            return 0
        used = self.parse(self.own, self.held, replies)
        self.held -= used
        if self.held:
            memmove(self.own, self.own + used, self.held)
        elif self.room > KEPT_ROOM:
            free(self.own)
            self.own, self.room = NULL, 0
        return 0

    cdef int keep(self, const char* data, Py_ssize_t length) except -1:
        """Append to the bytes not yet parsed."""
        cdef Py_ssize_t room = self.room, needed = self.held + length
        cdef char* own
        if needed > room:
            room = max(2 * room, needed)
            if self.missing > 0:
                room = max(min(room, self.held + max(length, self.missing)), needed)
            own = <char*> realloc(self.own, room)
            if own == NULL:
                raise MemoryError
            self.own, self.room = own, room
        if length:
            memcpy(self.own + self.held, data, length)
        self.held = needed
        return 0

    cdef Py_ssize_t parse(self, const char* data, Py_ssize_t length, list replies) except -1:
        """Parse the complete replies; return their length in bytes."""
        cdef Py_ssize_t at = 0, after
        while at < length:
            if self.skipping:
                after = min(self.skipping, length - at)
                self.skipping -= after
                at += after
                if not self.skipping:
                    self.close(b"", replies)
                continue
            after = self.element(data, length, at, replies)
            if after == at:
                break
            at = after
        return at

    cdef Py_ssize_t element(self, const char* data, Py_ssize_t length, Py_ssize_t at, list replies) except -1:
        """Parse the scalar or the head of an aggregate at `at`; return where it ends, or `at` if it isn't all there."""
        cdef Py_ssize_t end = line_end(data, at, min(length, at + longest_line)), after = end + 2, count
        cdef unsigned char kind = <unsigned char> data[at]
        cdef const char* line = data + at + 1
        cdef int64_t number = 0
        cdef object value
        if end < 0:
            if length - at >= longest_line:
                raise ProtocolError(f"a line is longer than {longest_line} bytes")
            self.missing = 1
            return at
        if end == at:
            raise ProtocolError("a reply can't begin with the end of a line")
        if kind == b"$" or kind == b"=" or kind == b"!":
            count = decimal(line, end - at - 1, kind == b"$")
            if count > (longest_line if kind == b"!" else self.longest):
                if kind != b"$" or not self.skips:
                    raise TooLargeError(f"a string must be of at most {self.longest} bytes, got {count}")
                self.skipping = count + 2
                return after
            if count < 0:
                value = None
            else:
                after += count + 2
                if after > length:
                    self.missing = after - length
                    return at
                value = text(kind, data + end + 2, count)
        elif kind == b"*" or kind == b"%" or kind == b"~" or kind == b">" or kind == b"|":
            count = decimal(line, end - at - 1, kind == b"*")
            if count > self.most_elements:
                raise ProtocolError(f"a reply has {count} elements, and may have {self.most_elements}")
            if count > 0:
                self.open(kind, count)
                self.grow(after - at)
                return after
            if count < 0:
                value = None
            else:
                self.open(kind, 0)
                self.grow(after - at)
                self.depth -= 1
                value = made(kind, self.stack.pop())
                if kind == b"|":
                    self.rest()
                    return after
                self.close(value, replies)
                return after
        elif kind == b":" and short_integer(line, end - at - 1, &number):
            value = number
        elif kind == b"+":
            value = PyBytes_FromStringAndSize(line, end - at - 1)
        else:
            value = scalar(kind, PyBytes_FromStringAndSize(line, end - at - 1))
        self.grow(after - at)
        self.close(value, replies)
        return after

    cdef int open(self, unsigned char kind, Py_ssize_t count) except -1:
        """Begin an aggregate."""
        if self.depth >= most_depth:
            raise ProtocolError(f"a reply is nested deeper than {most_depth}")
        if kind == b">" and self.depth:
            raise ProtocolError("a push inside of a reply")
        if kind == b"%" or kind == b"|":
            count *= 2
        self.count += count
        if self.count > self.most_elements:
            raise ProtocolError(f"a reply has more than {self.most_elements} elements")
        self.stack.append([])
        self.kinds[self.depth], self.left[self.depth] = kind, count
        self.depth += 1
        return 0

    cdef int grow(self, Py_ssize_t size) except -1:
        """Count the bytes of an aggregate."""
        if self.depth:
            self.size += size
            if self.size > self.largest:
                raise ProtocolError(f"a reply is larger than {self.largest} bytes")
        return 0

    @cython.boundscheck(True)
    cdef int close(self, object value, list replies) except -1:
        """Put `value`, which is whole, where it belongs, and so every aggregate that is whole by it."""
        cdef int top
        cdef unsigned char kind
        while self.depth:
            top = self.depth - 1
            (<list?> self.stack[top]).append(value)
            self.left[top] -= 1
            if self.left[top]:
                return 0
            kind = self.kinds[top]
            self.depth = top
            value = made(kind, self.stack.pop())
            if kind == b"|":
                self.rest()
                return 0
        replies.append(value)
        self.rest()
        return 0

    cdef void rest(self) noexcept:
        """Forget the reply that is whole, if nothing of it is left."""
        if not self.depth:
            self.size = self.count = 0


cdef Py_ssize_t line_end(const char* data, Py_ssize_t at, Py_ssize_t limit) noexcept:
    """Return where the line that begins at `at` ends; -1 if that isn't before `limit`."""
    cdef const char* found
    while at < limit - 1:
        found = <const char*> memchr(data + at, b"\r", limit - 1 - at)
        if found == NULL:
            return -1
        if found[1] == b"\n":
            return found - data
        at = found - data + 1
    return -1


cdef Py_ssize_t decimal(const char* line, Py_ssize_t length, bint nullable) except -2:
    """Return the length that `line` is; -1 for null."""
    cdef Py_ssize_t found = 0, at
    if nullable and length == 2 and line[0] == b"-" and line[1] == b"1":
        return -1
    for at in range(length if length <= LENGTH_DIGITS else 0):
        if not b"0" <= line[at] <= b"9":
            break
        found = 10 * found + line[at] - c'0'
    else:
        if 0 < length <= LENGTH_DIGITS:
            return found
    raise ProtocolError(f"a length must be a decimal number, got {PyBytes_FromStringAndSize(line, min(length, 32))!r}")


cdef bint short_integer(const char* line, Py_ssize_t length, int64_t* number) noexcept:
    """Set `number` to the integer that `line` is, if it is of few digits; return whether it is."""
    cdef Py_ssize_t at = 1 if length and (line[0] == b"-" or line[0] == b"+") else 0
    cdef int64_t found = 0
    if not 0 < length - at <= SHORT_INTEGER:
        return False
    for at in range(at, length):
        if not b"0" <= line[at] <= b"9":
            return False
        found = 10 * found + line[at] - c'0'
    number[0] = -found if line[0] == b"-" else found
    return True


cdef object text(unsigned char kind, const char* data, Py_ssize_t length):
    """Return the string, or the error, of `length` bytes at `data`, whose end is there as well."""
    if data[length] != b"\r" or data[length + 1] != b"\n":
        raise ProtocolError("a string doesn't end where its length says")
    if kind == b"!":
        return error_reply(PyBytes_FromStringAndSize(data, length))
    if kind == b"=":
        if length < 4 or data[3] != b":":
            raise ProtocolError("a verbatim string has no format")
        return PyBytes_FromStringAndSize(data + 4, length - 4)
    return PyBytes_FromStringAndSize(data, length)


cdef object made(unsigned char kind, list elements):
    """Return the reply that the elements of an aggregate form."""
    cdef dict found
    if kind == b">":
        return Push(elements)
    if kind != b"%":
        return elements
    found = {}
    for key, value in zip(elements[::2], elements[1::2]):
        if not is_key(key):
            raise ProtocolError("a map has a key that is neither a string nor an integer")
        found[key] = value
    return found
