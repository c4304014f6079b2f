# The check of the whole structure: every entry is where each part says it is, and nothing else is anywhere. O(n).


cdef int expect(bint holds, str broken) except -1:
    if not holds:
        raise AssertionError(broken)
    return 0


cdef int audit(Table* t) except -1:
    audit_index(t)
    audit_free(t)
    audit_rings(t)
    audit_wheel(t)
    audit_bytes(t)
    return 0


cdef int audit_index(Table* t) except -1:
    cdef uint64_t at, count = 0, live = 0
    cdef uint32_t i, slot, distance
    expect(t.count <= t.fits <= t.maxsize, "more entries than maxsize, or than the policy reckons with")
    expect(t.used <= t.capacity, "more entries in use than there are")
    expect(<uint64_t> t.mask + 1 == <uint64_t> 1 << t.bits, "the index's size is off")
    expect((<size_t> t.entries & 63) == 0, "the entries aren't aligned")
    for at in range(<uint64_t> t.mask + 1):
        slot = t.slots[at]
        if slot == 0:
            continue
        count += 1
        i = slot & t.mask
        expect(t.heads <= i < t.used and t.entries[i].key != NULL, "a slot names no entry")
        distance = (<uint32_t> at - slot_of(t, t.details[i].hash * t.multiplier)) & t.mask
        slot -= (distance if distance < FAR else <uint32_t> FAR) << t.bits
        expect(slot & ~t.mask == tag_of(t, t.details[i].hash * t.multiplier), "a slot has another tag or distance")
    for i in range(t.heads, t.used):
        if t.entries[i].key != NULL:
            live += 1
            expect(t.entries[i].value != NULL, "an entry without a value")
            expect(found_at(t, i), "an entry that a lookup would not find")
    expect(count == t.count and live == t.count, "the index and the entries hold different numbers")
    return 0


cdef bint found_at(Table* t, uint32_t i) noexcept nogil:
    # Whether the probe for the entry's hash reaches it before an empty slot.
    cdef uint32_t at = slot_of(t, t.details[i].hash * t.multiplier)
    while t.slots[at] != 0:
        if t.slots[at] & t.mask == i:
            return True
        at = (at + 1) & t.mask
    return False


cdef int audit_free(Table* t) except -1:
    cdef uint32_t i = t.free, count = 0
    while i != NONE:
        expect(i < t.used and t.entries[i].key == NULL, "an entry in use is on the free list")
        count += 1
        expect(count <= t.used, "the free list is a circle")
        i = t.links[i].next
    expect(t.heads + t.count + count == t.used, "an entry is neither used nor free")
    return 0


cdef int audit_rings(Table* t) except -1:
    cdef uint32_t head, i, length, total = 0
    for head in range(t.heads):
        length = 0
        i = t.links[head].next
        expect(t.links[i].prev == head, "a broken ring")
        while i != head:
            expect(t.heads <= i < t.used and t.entries[i].key != NULL, "a ring holds what is no entry")
            expect(t.links[t.links[i].next].prev == i, "a broken ring")
            if t.policy == LFU:
                expect(lfu_count(t, i) == head, "an entry in the ring of another count")
            elif t.policy == ADAPTIVE:
                expect(((t.entries[i].meta & IN_MAIN) != 0) == (head == MAIN), "an entry on the wrong list")
            length += 1
            expect(length <= t.count, "a ring is longer than the table")
            i = t.links[i].next
        total += length
        if t.policy == LFU:
            expect((t.lfu.in_use >> head & 1) == (length > 0), "the bitmap of counts is off")
        elif t.policy == ADAPTIVE:
            expect(length == (t.adaptive.n_main if head == MAIN else t.adaptive.n_probation), "a list's count is off")
    expect(total == t.count, "the rings and the table hold different numbers")
    if t.policy == ADAPTIVE:
        expect(t.adaptive.q_min <= t.adaptive.q <= t.adaptive.q_max, "the boundary is out of range")
        audit_ghosts(&t.adaptive.probation_ghosts)
        audit_ghosts(&t.adaptive.main_ghosts)
    return 0


cdef int audit_ghosts(Ghosts* g) except -1:
    cdef uint64_t i, count = 0
    if g.cells != NULL:
        for i in range(<uint64_t> g.buckets * WAYS):
            if g.cells[i]:
                count += 1
                expect(g.cells[i] >> 32 != 0, "a ghost without a fingerprint")
    expect(count == g.live, "the number of live ghosts is off")
    return 0


cdef int audit_wheel(Table* t) except -1:
    cdef Wheel* w = t.wheel
    cdef uint32_t i, prev, scheduled = 0
    cdef int level, slot
    cdef uint64_t begins, tick
    for i in range(t.heads, t.used):
        if t.entries[i].key != NULL:
            expect((t.details[i].wheel_prev != NONE) or deadline_of(t, i) == NEVER, "an entry that won't be reclaimed")
    if w == NULL:
        return 0
    for level in range(LEVELS):
        for slot in range(64):
            i = w.slots[level * 64 + slot]
            expect((w.occupied[level] >> slot & 1) == (i != NONE), "the wheel's bitmap is off")
            if i == NONE:
                continue
            expect(slot >= digit(w.tick, level), "the wheel has passed an occupied slot")
            if level > 0 and slot == digit(w.tick, level):
                expect(w.draining == level, "the wheel stands in a slot that it doesn't empty")
            begins = (w.tick >> (6 * level) & ~<uint64_t> 63 | slot) << (6 * level)
            prev = IN_SLOT | (level * 64 + slot)
            while i != NONE:
                expect(t.entries[i].key != NULL and t.details[i].wheel_prev == prev, "a broken list in the wheel")
                tick = <uint64_t> deadline_of(t, i) >> TICK_BITS
                expect(tick >= begins or begins == w.tick, "an entry is scheduled after its time")
                scheduled += 1
                expect(scheduled <= t.count, "a list in the wheel is a circle")
                prev = i
                i = t.details[i].wheel_next
    expect(scheduled == w.scheduled, "the number of scheduled entries is off")
    return 0


cdef int audit_bytes(Table* t) except -1:
    cdef uint32_t i
    cdef int64_t total = 0
    if t.weights != NULL:
        for i in range(t.heads, t.used):
            if t.entries[i].key != NULL:
                total += t.weights[i]
    expect(total == t.bytes, "the weights don't add up")
    expect(t.bytes <= t.max_bytes, "over max_bytes")
    return 0
