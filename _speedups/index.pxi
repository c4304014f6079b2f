# From a hash to an entry: chunks of one cache line, twelve places each, filled to seven of them.
#
# hash * multiplier (odd, random, secret: Dietzfelbinger's multiply-shift, so nobody can craft keys that collide) as a
# fraction of 1, times the number of chunks, is the *home* chunk; the bits behind the point are a tag of eight bits and
# a mark of two. A chunk holds its entries' tags side by side, so that one vector comparison finds the places that can
# match, or one that is vacant (tag 0), without a branch that depends on the data; then each entry's number, with the
# mark and how many chunks it is from home (3: that or more) above it. (Folly's F14 is laid out likewise.)
#
# An entry whose home is full goes to the next chunk with room, and every chunk that it passed counts it. Invariant: a
# chunk that was passed is full. Removing restores it by bringing entries back, so there are no tombstones, and a lookup
# ends at the first chunk that nothing passed: 1.03 chunks a miss, whatever came before. Bytes: 9.1 an entry when
# maxsize is reached, up to 18.3 before, and up to 27.4 while entries move.
#
# The index grows step by step, so that no write takes long. A larger one is put beside the *former* one, and each new
# entry moves up to 16 of those from the former index to the new one, chunk by chunk. Meanwhile an entry is in exactly
# one of the two, and a lookup that finds nothing in the new one goes on in the former. Moving takes half as many new
# entries as the former index has chunks, so by its end there are at most 8 entries a chunk.

cdef enum:
    PLACES = 12               # of a chunk
    PER_CHUNK = 7             # entries, on average, in a full index
    NUMBER = (1 << 28) - 1    # the part of a place that is the entry's number
    FAR = 3                   # a distance from home of 3 or more
    LEAST_CHUNKS = 3
    MOVES = 16                # entries, and emptied chunks, that a new entry moves on
    FOREIGN = 0x7FFFFFFF      # a comparison that only Python code can make

cdef extern from *:
    """
    #if defined(__SSE2__) || defined(_M_X64)
    #include <emmintrin.h>
    /* The places of a chunk whose tag it is, as bits. */
    static inline uint32_t tt_places(const uint8_t *tags, uint8_t tag) {
        __m128i same = _mm_cmpeq_epi8(_mm_load_si128((const __m128i *)tags), _mm_set1_epi8((char)tag));
        return (uint32_t)_mm_movemask_epi8(same) & 0xFFF;
    }
    #else
    static inline uint32_t tt_places(const uint8_t *tags, uint8_t tag) {
        uint32_t found = 0;
        for (int i = 0; i < 12; i++) found |= (uint32_t)(tags[i] == tag) << i;
        return found;
    }
    #endif
    """
    uint32_t places_of "tt_places"(const uint8_t*, uint8_t) noexcept nogil


cdef inline Index index_of(Table* t) noexcept nogil:
    cdef Index x
    x.chunks = t.chunks
    x.n_chunks = t.n_chunks
    return x


cdef inline Index former_of(Table* t) noexcept nogil:
    cdef Index x
    x.chunks = t.former
    x.n_chunks = t.n_former
    return x


cdef inline uint64_t home_in(Table* t, Index x, uint64_t hash_) noexcept nogil:
    # The home chunk, and behind the point the 32 bits that yield tag and mark.
    return (spread(t, hash_) >> 32) * x.n_chunks


cdef inline uint64_t home_of(Table* t, uint64_t hash_) noexcept nogil:
    return home_in(t, index_of(t), hash_)


cdef inline uint8_t tag_of(uint64_t home) noexcept nogil:
    cdef uint8_t tag = <uint8_t> (home >> 24)
    return tag + (tag == 0)


cdef inline uint32_t mark_of(uint64_t home) noexcept nogil:
    return <uint32_t> home << 6 & 0x30000000


cdef inline uint32_t farther(uint32_t mark) noexcept nogil:
    # The mark, one chunk on.
    return mark + (1 << 30) if mark >> 30 != FAR else mark


cdef inline Chunk* chunk_after(Index x, Chunk* chunk) noexcept nogil:
    chunk += 1
    return x.chunks if chunk == x.chunks + x.n_chunks else chunk


cdef inline void index_prefetch(Table* t, uint64_t hash_) noexcept nogil:
    prefetch(&t.chunks[home_of(t, hash_) >> 32])


cdef inline uint32_t find_str_in(Table* t, Index x, PyObject* key, uint64_t hash_) noexcept nogil:
    # The entry under an exact str, NONE without one; FOREIGN if a key of another type has that hash.
    cdef uint64_t home = home_in(t, x, hash_)
    cdef Chunk* chunk = &x.chunks[home >> 32]
    cdef uint32_t mark = mark_of(home), found, i
    cdef PyObject* held
    while True:
        found = places_of(chunk.tags, tag_of(home))
        while found:
            i = chunk.places[lowest(found)] ^ mark
            if likely(i <= NUMBER):
                held = t.entries[i].key
                if likely(held == key):
                    return i
                if likely(is_str(held)):
                    if str_hash(held) == <Py_ssize_t> hash_ and same_str(held, key):
                        return i
                elif t.details[i].hash == hash_:
                    return FOREIGN
            found &= found - 1
        if likely(chunk.passed == 0):
            return NONE
        chunk = chunk_after(x, chunk)
        mark = farther(mark)


cdef uint32_t find_str_in_former(Table* t, PyObject* key, uint64_t hash_) noexcept nogil:
    return find_str_in(t, former_of(t), key, hash_)


cdef inline uint32_t find_str(Table* t, PyObject* key, uint64_t hash_) noexcept nogil:
    # As find_str_in, in whichever index the entry is.
    cdef uint32_t i = find_str_in(t, index_of(t), key, hash_)
    return find_str_in_former(t, key, hash_) if unlikely(t.former != NULL and i == NONE) else i


cdef uint32_t find_any(Table* t, PyObject* key, uint64_t hash_) except 0xFFFFFFFF:
    # The entry under any key, NONE without one. Comparing may run Python code: if it changed the table, start over.
    cdef uint64_t home, changes = t.changes - 1
    cdef Chunk* chunk = NULL
    cdef uint32_t mark = 0, found = 0, i
    cdef PyObject* held
    cdef int equal
    cdef bint begins = True
    cdef Index x = index_of(t)
    while True:
        if t.changes != changes:
            changes = t.changes
            x = index_of(t)
            begins = True
        if begins:
            home = home_in(t, x, hash_)
            chunk = &x.chunks[home >> 32]
            mark = mark_of(home)
            found = places_of(chunk.tags, tag_of(home))
            begins = False
        if not found:
            if chunk.passed:
                chunk = chunk_after(x, chunk)
                mark = farther(mark)
                found = places_of(chunk.tags, tag_of(home))
            elif t.former != NULL and x.chunks != t.former:
                x = former_of(t)
                begins = True
            else:
                return NONE
            continue
        i = chunk.places[lowest(found)] ^ mark
        found &= found - 1
        if i > NUMBER or t.details[i].hash != hash_:
            continue
        held = t.entries[i].key
        if held == key:
            return i
        if is_str(held) and is_str(key):
            if same_str(held, key):
                return i
            continue
        Py_INCREF(<object> held)
        try:
            equal = PyObject_RichCompareBool(<object> held, <object> key, Py_EQ)
        finally:
            Py_DECREF(<object> held)
        if equal and t.changes == changes:
            return i


cdef inline uint32_t find(Table* t, PyObject* key, uint64_t hash_) except 0xFFFFFFFF:
    cdef uint32_t i
    if likely(is_str(key)):
        i = find_str(t, key, hash_)
        if likely(i != FOREIGN):
            return i
    return find_any(t, key, hash_)


cdef inline void index_put(Table* t, uint32_t i, uint64_t hash_) noexcept nogil:
    # Enter entry i, which isn't there yet.
    cdef uint64_t home = home_of(t, hash_)
    cdef Chunk* chunk = &t.chunks[home >> 32]
    cdef uint32_t mark = mark_of(home), vacant = places_of(chunk.tags, 0)
    check(i <= NUMBER)
    while unlikely(vacant == 0):
        chunk.passed += 1
        chunk = chunk_after(index_of(t), chunk)
        mark = farther(mark)
        vacant = places_of(chunk.tags, 0)
    chunk.tags[lowest(vacant)] = tag_of(home)
    chunk.places[lowest(vacant)] = mark | i


cdef bint is_in(Table* t, Index x, uint32_t i, uint64_t hash_) noexcept nogil:
    # Whether a lookup in this index finds entry i.
    cdef uint64_t home = home_in(t, x, hash_)
    cdef Chunk* chunk = &x.chunks[home >> 32]
    cdef uint32_t found
    while True:
        found = places_of(chunk.tags, tag_of(home))
        while found:
            if chunk.places[lowest(found)] & NUMBER == i:
                return True
            found &= found - 1
        if chunk.passed == 0:
            return False
        chunk = chunk_after(x, chunk)


cdef inline void index_remove(Table* t, uint32_t i, uint64_t hash_) noexcept nogil:
    # Take entry i out.
    if unlikely(t.former != NULL and not is_in(t, index_of(t), i, hash_)):
        remove_from(t, former_of(t), i, hash_)
    else:
        remove_from(t, index_of(t), i, hash_)


cdef inline void remove_from(Table* t, Index x, uint32_t i, uint64_t hash_) noexcept nogil:
    cdef uint64_t home = home_in(t, x, hash_)
    cdef Chunk* chunk = &x.chunks[home >> 32]
    cdef uint32_t mark = mark_of(home), found
    while True:
        found = places_of(chunk.tags, tag_of(home))
        while found:
            if likely(chunk.places[lowest(found)] == mark | i):
                chunk.tags[lowest(found)] = 0
                if unlikely(chunk.passed):
                    index_bring_back(t, x, chunk)
                return
            found &= found - 1
        check(chunk.passed > 0)
        chunk.passed -= 1
        chunk = chunk_after(x, chunk)
        mark = farther(mark)


cdef uint32_t distance_of(Table* t, Index x, Chunk* chunk, uint32_t place) noexcept nogil:
    # How many chunks an entry is from home.
    cdef uint32_t distance = chunk.places[place] >> 30, at, home
    if distance != FAR:
        return distance
    at = <uint32_t> (chunk - x.chunks)
    home = <uint32_t> (home_in(t, x, t.details[chunk.places[place] & NUMBER].hash) >> 32)
    return at - home if at >= home else at + x.n_chunks - home


cdef void index_bring_back(Table* t, Index x, Chunk* chunk) noexcept nogil:
    # A chunk that was passed has room: fill it with the nearest entry that passed it, whose own place is filled then.
    cdef Chunk* farther_on
    cdef uint32_t place, vacant, distance, steps
    while chunk.passed:
        farther_on = chunk
        steps = 0
        place = PLACES
        while place == PLACES:
            farther_on.passed -= 1
            farther_on = chunk_after(x, farther_on)
            steps += 1
            place = 0
            while place < PLACES and (farther_on.tags[place] == 0 or distance_of(t, x, farther_on, place) < steps):
                place += 1
        distance = distance_of(t, x, farther_on, place) - steps
        vacant = lowest(places_of(chunk.tags, 0))
        chunk.tags[vacant] = farther_on.tags[place]
        chunk.places[vacant] = (
            (farther_on.places[place] & 0x3FFFFFFF) | (distance if distance < FAR else <uint32_t> FAR) << 30
        )
        farther_on.tags[place] = 0
        chunk = farther_on


cdef bint index_begin(Table* t, uint32_t n_chunks) except False:
    # Start an empty index of so many chunks in the table, beside the current one.
    cdef void* block = calloc(<size_t> n_chunks * sizeof(Chunk) + 63, 1)
    if block == NULL:
        raise MemoryError
    t.former_index = t.index
    t.former = t.chunks
    t.n_former = t.n_chunks
    t.emptied = 0
    t.index = block
    t.chunks = <Chunk*> aligned(block)
    t.n_chunks = n_chunks
    t.changes += 1
    return True


cdef void index_move(Table* t, uint32_t moves) noexcept nogil:
    # Move so many entries from the former index; where it has none left, that is its end.
    cdef Chunk* chunk
    cdef uint32_t held, i
    t.changes += 1
    while moves and t.emptied < t.n_former:
        moves -= 1
        chunk = &t.former[t.emptied]
        held = ~places_of(chunk.tags, 0) & ((1 << PLACES) - 1)
        if held == 0:
            t.emptied += 1
            continue
        i = chunk.places[lowest(held)] & NUMBER
        remove_from(t, former_of(t), i, t.details[i].hash)
        index_put(t, i, t.details[i].hash)
    if t.emptied == t.n_former:
        former_end(t)


cdef void former_end(Table* t) noexcept nogil:
    # Free the former index, which is empty.
    free(t.former_index)
    t.former_index = NULL
    t.former = NULL


cdef bint index_reserve(Table* t) except False:
    # Make sure that the index has room for one more entry.
    cdef uint64_t room = <uint64_t> t.n_chunks * PER_CHUNK, most
    if likely(t.count < room or t.maxsize <= room) or t.former != NULL:
        return True
    most = (<uint64_t> t.maxsize + PER_CHUNK - 1) // PER_CHUNK
    return index_begin(t, <uint32_t> most if most < 2 * <uint64_t> t.n_chunks else 2 * t.n_chunks)
