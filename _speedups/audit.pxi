# The check of the whole structure: every part agrees on the place of every entry, and holds nothing else. O(n).


cdef int expect(bint holds, str broken) except -1:
    if not holds:
        raise AssertionError(broken)
    return 0


cdef int audit(Table* t) except -1:
    audit_index(t)
    audit_free(t)
    audit_pending(t)
    audit_rings(t)
    audit_wheel(t)
    audit_bytes(t)
    return 0


cdef int audit_index(Table* t) except -1:
    cdef uint64_t count = 0, live = 0
    cdef uint32_t i, n
    expect(t.fits <= t.maxsize, "the policy reckons with more entries than maxsize")
    expect(t.count <= t.fits or t.resizing, "more entries than the policy reckons with")
    expect(t.used <= t.capacity, "more entries in use than there are")
    expect(t.count <= <uint64_t> t.n_chunks * (PER_CHUNK + 1), "more entries than the index may hold")
    expect((<size_t> t.entries & 63) == 0, "the entries aren't aligned")
    count = audit_chunks(t, index_of(t))
    if t.former != NULL:
        count += audit_chunks(t, former_of(t))
        expect(t.emptied < t.n_former, "the former index outlived its entries")
        for n in range(t.emptied):
            expect(places_of(t.former[n].tags, 0) == (1 << PLACES) - 1, "an emptied chunk holds an entry")
    else:
        expect(t.former_index == NULL, "a former index of no chunks")
    for i in range(t.heads, t.used):
        if t.entries[i].key != NULL:
            live += 1
            expect(t.entries[i].value != NULL, "an entry without a value")
            expect(
                is_in(t, index_of(t), i, t.details[i].hash)
                != (t.former != NULL and is_in(t, former_of(t), i, t.details[i].hash)),
                "an entry that a lookup would not find, or would find twice",
            )
    expect(count == t.count and live == t.count, "the index and the entries hold different numbers")
    return 0


cdef int64_t audit_chunks(Table* t, Index x) except -1:
    # Check one index; return how many entries it holds.
    cdef uint64_t passing = 0, passed = 0, home
    cdef int64_t count = 0
    cdef uint32_t n, place, i, distance
    cdef Chunk* chunk
    expect((<size_t> x.chunks & 63) == 0, "the index isn't aligned")
    for n in range(x.n_chunks):
        chunk = &x.chunks[n]
        passed += chunk.passed
        expect(chunk.passed == 0 or places_of(chunk.tags, 0) == 0, "a chunk that was passed has room")
        for place in range(PLACES):
            if chunk.tags[place] == 0:
                continue
            count += 1
            i = chunk.places[place] & NUMBER
            expect(t.heads <= i < t.used and t.entries[i].key != NULL, "a place names no entry")
            home = home_in(t, x, t.details[i].hash)
            distance = (n + x.n_chunks - <uint32_t> (home >> 32)) % x.n_chunks
            passing += distance
            expect(distance_of(t, x, chunk, place) == distance, "a place has another distance")
            expect(chunk.tags[place] == tag_of(home), "a place has another tag")
            expect((chunk.places[place] ^ mark_of(home)) & 0x30000000 == 0, "a place has another mark")
    expect(passing == passed, "chunks were passed by other numbers of entries")
    return count


cdef int audit_free(Table* t) except -1:
    cdef uint32_t i = t.free, count = 0
    while i != NONE:
        expect(i < t.used and t.entries[i].key == NULL, "an entry in use is on the free list")
        count += 1
        expect(count <= t.used, "the free list is a circle")
        i = t.links[i].next
    expect(t.heads + t.count + count == t.used, "an entry is neither used nor free")
    return 0


cdef int audit_pending(Table* t) except -1:
    cdef uint32_t n
    expect(t.lru.pending < MOST_PENDING, "more hits are pending than there is room for")
    for n in range(t.lru.pending):
        expect(t.heads <= t.lru.hits[n] < t.used and t.entries[t.lru.hits[n]].key != NULL, "a pending hit of no entry")
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
        audit_ghosts(&t.adaptive.ghosts)
    return 0


cdef int audit_ghosts(Ghosts* g) except -1:
    cdef uint64_t n, of_probation = 0, of_main = 0
    cdef int i
    if g.table != NULL:
        for n in range(g.buckets):
            for i in range(WAYS):
                if OF_PROBATION >> i & 1:
                    of_probation += g.table[n].prints[i] != 0
                else:
                    of_main += g.table[n].prints[i] != 0
    expect(of_probation == g.of_probation and of_main == g.of_main, "the numbers of ghosts are off")
    return 0


cdef int audit_wheel(Table* t) except -1:
    cdef Wheel* w = t.wheel
    cdef uint32_t i, prev, scheduled = 0, timed = 0
    cdef int level, slot
    cdef uint64_t begins, tick
    for i in range(t.heads, t.used):
        if t.entries[i].key != NULL:
            timed += deadline_of(t, i) != NEVER
    if w == NULL:
        expect(timed == 0, "an entry that won't be reclaimed")
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
                tick = tick_of(deadline_of(t, i))
                expect(tick >= begins or begins == w.tick, "an entry is scheduled after its time")
                scheduled += 1
                expect(scheduled <= t.count, "a list in the wheel is a circle")
                prev = i
                i = t.details[i].wheel_next
    expect(scheduled == timed, "an entry that won't be reclaimed")
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
