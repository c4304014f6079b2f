# The entries, and the table that holds everything.
#
# An entry is an index (u32) into three parallel arrays, 64 bytes in all. The arrays separate the fields by use: those
# that a hit reads (two entries to a cache line, aligned), the policy's links (for a hit of lru), and the rest. The
# first `heads` entries hold no value: they are the heads of the policy's rings, so that 0 can mean "none". Free entries
# form a list through `next`. The arrays grow with use, never with maxsize; optional fields (stale windows, weights)
# have separate arrays, made on first use.

cdef enum Policy:
    LRU
    LFU
    ADAPTIVE

cdef enum:
    # Entry.meta: 24 bits of the epoch (0: of no epoch, never fresh), then eight of flags.
    FREQ = 0x03          # uses, as the adaptive policy counts them
    IN_MAIN = 0x04       # on the adaptive policy's main list
    KIND = 0x18          # how the value is handed out
    BY_REFERENCE = 0x00
    TREE = 0x08          # copied; no container is in it twice
    SHARED_TREE = 0x10   # copied; containers are in it twice or in themselves
    ENCODED = 0x18       # rebuilt from bytes
    PLAIN = 0x20         # neither key nor value can be part of a cycle
    DEMOTED = 0x40       # expired on request
    HAS_OP = 0x80        # Details.op is valid (else no op): most entries have no op, and their writes skip the field
    FLAGS = 0xFF
    EPOCH_SHIFT = 8

    NONE = 0             # no entry
    LEAST_CAPACITY = 8

cdef struct Entry:
    PyObject* key        # NULL: free
    PyObject* value
    int64_t expires      # ns; NEVER
    uint32_t meta
    uint32_t stamp       # the policy's

cdef struct Links:
    uint32_t prev        # the policy's ring: towards the newest
    uint32_t next        # the policy's ring: towards the oldest; free: the next free entry

cdef struct Details:
    uint64_t hash        # Python's
    uint64_t op          # tag of the write that made the value
    uint32_t wheel_prev  # the timer wheel's list, of an entry that has a deadline
    uint32_t wheel_next

cdef struct Chunk:       # of the index: a cache line
    uint8_t tags[12]     # 0: a vacant place
    uint32_t passed      # entries that are further on, since there was no room here
    uint32_t places[12]  # distance from home << 30 | mark << 28 | the entry

cdef struct Index:       # an index, as its functions take it
    Chunk* chunks
    uint32_t n_chunks

cdef struct GhostBucket:  # half a cache line
    uint16_t prints[8]   # fingerprints; 0: no ghost
    uint16_t stamps[8]

cdef struct Ghosts:
    GhostBucket* table   # NULL before the first ghost
    void* block
    uint32_t buckets
    uint32_t of_probation, of_main  # how many there are
    uint32_t shift       # of stamps

cdef struct Adaptive:
    uint32_t n_probation, n_main
    uint32_t misses, main_ops, age_count
    uint32_t capacity, horizon
    double q_min, q, q_max  # q: target size of probation
    int64_t main_target  # capacity - q
    Ghosts ghosts

cdef struct Lru:
    uint32_t pending     # how many there are of
    uint32_t hits[32]    # entries that are to become the newest, in this order

cdef struct Lfu:
    uint64_t in_use      # bit n: some entry has n uses
    uint64_t uses        # since the last halving
    uint32_t era         # halvings

cdef struct Wheel:
    uint64_t occupied[8]     # bit s of level l: some entry is in slot s
    uint32_t slots[8 * 64]   # the first entry of each slot's list
    uint64_t tick            # all earlier slots have been checked
    int draining             # the level whose own slot is being emptied; 0: none
    uint32_t scheduled       # entries in the wheel

cdef struct Bucket:
    uint64_t last_op
    uint32_t gen
    uint16_t by_last_op  # bit gen % 16: that void was by last_op
    uint16_t voided[16]  # by gen % 16, the prints of the keys that were voided last

cdef struct Table:
    Entry* entries
    Links* links
    Details* details
    Chunk* chunks
    uint32_t n_chunks
    uint32_t epoch       # 24 bits of it, never 0, in place for comparing with Entry.meta
    uint32_t policy
    uint32_t plain       # values are kept by reference, without listener and weights
    int64_t lease_until
    uint64_t multiplier  # odd and secret
    uint64_t hits, misses
    Chunk* former        # NULL, or the index before this one while its entries move
    Lru lru
    uint64_t changes     # of the table's structure, so that a lookup sees what foreign code did
    uint32_t count, used, capacity, heads, free, maxsize
    uint32_t resizing    # calls of resize under way: until they end there may be more entries than maxsize
    uint32_t fits        # entries that the policy reckons with: maxsize, or as many as the bytes allow
    void* block          # the allocation in which `entries` is aligned
    void* index          # the allocation in which `chunks` is aligned
    void* former_index   # the allocation in which `former` is aligned
    uint32_t n_former    # its chunks
    uint32_t emptied     # those before this one have been emptied
    int64_t* stales      # NULL before the first stale window
    int64_t* weights     # NULL without max_bytes
    int64_t bytes, max_bytes
    uint64_t evictions, expirations
    uint64_t salt
    PyObject* clock      # borrowed: a foreign clock's `now`; NULL for the machine's
    Adaptive adaptive
    Lfu lfu
    Wheel* wheel         # NULL before the first entry that expires
    Bucket* buckets      # NULL before the first token


cdef inline uint64_t spread(Table* t, uint64_t hash_) noexcept nogil:
    # The hash for index, ghosts and buckets: its high bits are an unpredictable fraction of 1.
    return hash_ * t.multiplier


cdef void* aligned(void* block) noexcept nogil:
    # The first cache line that begins in `block`.
    return <void*> ((<size_t> block + 63) & ~<size_t> 63)


cdef bint grow(void** array, size_t size) except False:
    cdef void* grown = realloc(array[0], size)
    if grown == NULL:
        raise MemoryError
    array[0] = grown
    return True


cdef bint entries_grow(Table* t, uint32_t capacity) except False:
    # Make room for `capacity` entries, heads included.
    cdef size_t before = <size_t> t.entries - <size_t> t.block
    if t.stales != NULL:
        grow(<void**> &t.stales, capacity * sizeof(int64_t))
    if t.weights != NULL:
        grow(<void**> &t.weights, capacity * sizeof(int64_t))
    grow(<void**> &t.links, capacity * sizeof(Links))
    grow(<void**> &t.details, capacity * sizeof(Details))
    grow(&t.block, capacity * sizeof(Entry) + 63)
    t.entries = <Entry*> aligned(t.block)
    if t.used and <size_t> t.entries - <size_t> t.block != before:
        memmove(t.entries, <char*> t.block + before, t.used * sizeof(Entry))
    t.capacity = capacity
    return True


cdef bint entries_reserve(Table* t) except False:
    # Make sure that the arrays have room for one more entry.
    cdef uint64_t most = <uint64_t> t.maxsize + t.heads, wanted
    if t.free != NONE or t.used < t.capacity or t.capacity >= most:
        return True
    wanted = <uint64_t> t.capacity + (t.capacity >> 1)
    return entries_grow(t, <uint32_t> (wanted if wanted < most else most))


cdef inline uint32_t entry_take(Table* t) noexcept nogil:
    # Take an entry that is free (entries_reserve saw to it).
    cdef uint32_t i = t.free
    if i != NONE:
        t.free = t.links[i].next
    else:
        check(t.used < t.capacity)
        i = t.used
        t.used += 1
    return i


cdef inline void entry_free(Table* t, uint32_t i) noexcept nogil:
    t.entries[i].key = NULL
    t.entries[i].value = NULL
    t.links[i].next = t.free
    t.free = i


cdef inline uint64_t op_of(Table* t, uint32_t i) noexcept nogil:
    return t.details[i].op if t.entries[i].meta & HAS_OP else 0


cdef inline int64_t deadline_of(Table* t, uint32_t i) noexcept nogil:
    # The end of the entry's stale window.
    cdef int64_t expires = t.entries[i].expires
    if t.stales == NULL:
        return expires
    return expires + t.stales[i] if expires < NEVER - t.stales[i] else NEVER
