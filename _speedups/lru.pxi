# lru: evicts what was used longest ago. One ring, whose head is entry 0; a hit moves the entry to the front.

cdef enum:
    LRU_HEAD = 0
    LRU_HEADS = 1


cdef inline void lru_hit(Table* t, uint32_t i) noexcept nogil:
    if t.links[LRU_HEAD].next != i:
        prefetch(&t.entries[t.links[i].prev])  # what was used next the last time, is often next again
        ring_unlink(t, i)
        ring_push(t, LRU_HEAD, i)
