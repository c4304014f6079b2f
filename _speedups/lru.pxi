# lru: evicts the least recently used entry. One ring, whose head is entry 0; a hit moves the entry to the front.
#
# A hit is only recorded; recorded entries move together when there are many, or when an operation needs the order of
# the ring. Moving writes to three unpredictable places in memory, and such writes stall the caller's next instructions.
# So every other operation on the ring first applies the recorded hits.

cdef enum:
    LRU_HEAD = 0
    LRU_HEADS = 1
    MOST_PENDING = 32


cdef void lru_move(Table* t) noexcept nogil:
    cdef uint32_t n, i, pending = t.lru.pending
    t.lru.pending = 0
    for n in range(pending):
        i = t.lru.hits[n]
        if t.links[LRU_HEAD].next != i:
            ring_unlink(t, i)
            ring_push(t, LRU_HEAD, i)


cdef inline void lru_settle(Table* t) noexcept nogil:
    if t.lru.pending:
        lru_move(t)


cdef inline void lru_hit(Table* t, uint32_t i) noexcept nogil:
    cdef uint32_t pending = t.lru.pending
    prefetch(&t.entries[t.links[i].prev])  # the entry used next the last time is often next again
    t.lru.hits[pending] = i
    t.lru.pending = pending + 1
    if unlikely(pending + 1 == MOST_PENDING):
        lru_move(t)


cdef inline void lru_add(Table* t, uint32_t i) noexcept nogil:
    lru_settle(t)
    ring_push(t, LRU_HEAD, i)


cdef inline void lru_unlink(Table* t, uint32_t i) noexcept nogil:
    lru_settle(t)
    ring_unlink(t, i)


cdef inline uint32_t lru_pop(Table* t) noexcept nogil:
    # Unlink the oldest.
    cdef uint32_t i
    lru_settle(t)
    i = t.links[LRU_HEAD].prev
    ring_unlink(t, i)
    return i
