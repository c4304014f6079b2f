# Doubly linked rings of entries: from the head, `next` is the newest and `prev` the oldest.


cdef inline void ring_init(Table* t, uint32_t head) noexcept nogil:
    t.links[head].prev = head
    t.links[head].next = head


cdef inline void ring_unlink(Table* t, uint32_t i) noexcept nogil:
    # Take the entry out of whichever ring it is in.
    cdef uint32_t prev = t.links[i].prev, next_ = t.links[i].next
    t.links[prev].next = next_
    t.links[next_].prev = prev


cdef inline void ring_push(Table* t, uint32_t head, uint32_t i) noexcept nogil:
    # Make the entry the newest.
    cdef uint32_t next_ = t.links[head].next
    t.links[i].prev = head
    t.links[i].next = next_
    t.links[next_].prev = i
    t.links[head].next = i


cdef inline bint ring_empty(Table* t, uint32_t head) noexcept nogil:
    return t.links[head].next == head


cdef void ring_splice(Table* t, uint32_t into, uint32_t head) noexcept nogil:
    # Move the ring of `head` to the newest end of the ring of `into`.
    cdef uint32_t newest = t.links[head].next, oldest = t.links[head].prev, front = t.links[into].next
    if newest == head:
        return
    t.links[into].next = newest
    t.links[newest].prev = into
    t.links[oldest].next = front
    t.links[front].prev = oldest
    ring_init(t, head)
