# Pairs: the containers seen in one walk through a value, by address, each with its copy. Open addressing, at most half
# full; a few are on the stack.

cdef enum:
    FEW_PAIRS = 32

cdef struct Pair:
    PyObject* original  # owned, so that its address stays its own; NULL: free
    PyObject* copy      # owned

cdef struct Pairs:
    Pair few[FEW_PAIRS]
    Pair* slots
    size_t mask         # slots - 1
    size_t count
    bint again          # some container was seen twice


cdef inline void pairs_init(Pairs* pairs) noexcept nogil:
    memset(pairs.few, 0, sizeof(pairs.few))
    pairs.slots = pairs.few
    pairs.mask = FEW_PAIRS - 1
    pairs.count = 0
    pairs.again = False


cdef inline Pair* pair_of(Pairs* pairs, PyObject* original) noexcept nogil:
    # Its pair, or the free one where it belongs.
    cdef size_t at = mix64(<size_t> original) & pairs.mask
    while pairs.slots[at].original != NULL and pairs.slots[at].original != original:
        at = (at + 1) & pairs.mask
    return &pairs.slots[at]


cdef bint pairs_grow(Pairs* pairs) except False:
    cdef Pair* old = pairs.slots
    cdef size_t at, size = pairs.mask + 1
    pairs.slots = <Pair*> calloc(2 * size, sizeof(Pair))
    if pairs.slots == NULL:
        pairs.slots = old
        raise MemoryError
    pairs.mask = 2 * size - 1
    for at in range(size):
        if old[at].original != NULL:
            pair_of(pairs, old[at].original)[0] = old[at]
    if old != pairs.few:
        free(old)
    return True


cdef bint pairs_add(Pairs* pairs, object original, object copy) except False:
    cdef Pair* pair
    if 2 * pairs.count > pairs.mask:
        pairs_grow(pairs)
    pair = pair_of(pairs, <PyObject*> original)
    if pair.original == NULL:
        pair.original = new_reference(<PyObject*> original)
        pair.copy = new_reference(<PyObject*> copy)
        pairs.count += 1
    return True


cdef void pairs_free(Pairs* pairs) noexcept:
    # Release all pairs. Runs Python code.
    cdef size_t at
    if pairs.count:
        for at in range(pairs.mask + 1):
            Py_XDECREF(pairs.slots[at].original)
            Py_XDECREF(pairs.slots[at].copy)
    if pairs.slots != pairs.few:
        free(pairs.slots)
