# The plain format's tags, weights and limits: twotier/codec/type_tags.py and weights.py explain them.

cdef extern from *:
    """
    enum {
        P_NONE = 0x01, P_FALSE, P_TRUE, P_INT1, P_INT2, P_INT4, P_INT8, P_BIG, P_FLOAT, P_TEXT, P_WIDE, P_BYTES,
        P_BYTEARRAY, P_KEY, P_KEY_AGAIN, P_LIST, P_TUPLE, P_DICT, P_MAPPING, P_SET, P_FROZENSET, P_DEQUE, P_ORDERED,
        P_COUNTER, P_DEFAULT, P_SHARED, P_REFERENCE, P_DATE, P_TIME, P_ZONED_TIME, P_DATETIME, P_ZONED_DATETIME,
        P_TIMEDELTA, P_UTC, P_OFFSET, P_ZONE, P_ZONE_AGAIN, P_DECIMAL, P_UUID, P_UUID_SAFETY, P_COMPLEX, P_SLICE,
        P_EXTENSION, P_MEMBER, P_INSTANCE = 0x3A,
        P_SMALL_KEY_AGAIN = 0x40, P_SMALL_TEXT = 0x60, P_SMALL_INT = 0x80, P_SMALL_KEY = 0xC0, P_SMALL_DICT = 0xE0,
        P_SMALL_LIST = 0xF0, P_SMALL_TUPLE = 0xF8
    };
    enum { P_NEW_KEYWORDS = 2, P_HAS_ITEMS = 4, P_HAS_PAIRS = 8, P_HAS_STATE = 16 };
    enum { P_MOST_DEPTH = 200, P_MOST_KEYS = 4096, P_LONGEST_KEY = 64 };
    enum {
        W_FREE = 1 << 17, W_PER_BYTE = 20, W_INT = 32, W_LONG_INT = 48, W_FLOAT = 32, W_COMPLEX = 48, W_SLICE = 64,
        W_SHARED = 16, W_KEY = 16, W_DATE = 48, W_TIME = 64, W_DATETIME = 64, W_TIMEDELTA = 64, W_OFFSET = 400,
        W_ZONE = 20000, W_DECIMAL = 200, W_HASHED_DECIMAL = 1200, W_UUID = 240, W_MEMBER = 800, W_INSTANCE = 2000
    };

    static inline int64_t tt_dict_weight(Py_ssize_t count) {
        int64_t slots = 8;
        if (count == 0)
            return 80;
        if (count <= 5)
            return 112 + 8 + 5 * 16;
        while (slots * 2 / 3 < count)
            slots *= 2;
        return 112 + slots * (slots <= 1 << 7 ? 1 : slots <= 1 << 15 ? 2 : 4) + slots * 2 / 3 * 24;
    }

    /* Length of a payload of `size` bytes and this weight, with the zeros that pad it. */
    static inline int64_t tt_padded(int64_t size, int64_t weight) {
        int64_t least = weight <= W_FREE ? 0 : (weight - W_FREE + W_PER_BYTE - 1) / W_PER_BYTE;
        return size > least ? size : least;
    }

    /* Numbers in memory, little-endian whatever the machine is. */
    static inline void tt_put(uint8_t *to, uint64_t number, int size) {
        for (int i = 0; i < size; i++)
            to[i] = (uint8_t)(number >> 8 * i);
    }
    static inline uint64_t tt_take(const uint8_t *from, int size) {
        uint64_t number = 0;
        for (int i = 0; i < size; i++)
            number |= (uint64_t)from[i] << 8 * i;
        return number;
    }
    static inline uint64_t tt_bits(double number) { uint64_t bits; memcpy(&bits, &number, 8); return bits; }
    static inline double tt_double(uint64_t bits) { double number; memcpy(&number, &bits, 8); return number; }
    """
    enum:
        P_NONE, P_FALSE, P_TRUE, P_INT1, P_INT2, P_INT4, P_INT8, P_BIG, P_FLOAT, P_TEXT, P_WIDE, P_BYTES
        P_BYTEARRAY, P_KEY, P_KEY_AGAIN, P_LIST, P_TUPLE, P_DICT, P_MAPPING, P_SET, P_FROZENSET, P_DEQUE, P_ORDERED
        P_COUNTER, P_DEFAULT, P_SHARED, P_REFERENCE, P_DATE, P_TIME, P_ZONED_TIME, P_DATETIME, P_ZONED_DATETIME
        P_TIMEDELTA, P_UTC, P_OFFSET, P_ZONE, P_ZONE_AGAIN, P_DECIMAL, P_UUID, P_UUID_SAFETY, P_COMPLEX, P_SLICE
        P_EXTENSION, P_MEMBER, P_INSTANCE
        P_SMALL_KEY_AGAIN, P_SMALL_TEXT, P_SMALL_INT, P_SMALL_KEY, P_SMALL_DICT, P_SMALL_LIST, P_SMALL_TUPLE
        P_NEW_KEYWORDS, P_HAS_ITEMS, P_HAS_PAIRS, P_HAS_STATE
        P_MOST_DEPTH, P_MOST_KEYS, P_LONGEST_KEY
        W_FREE, W_PER_BYTE, W_INT, W_LONG_INT, W_FLOAT, W_COMPLEX, W_SLICE
        W_SHARED, W_KEY, W_DATE, W_TIME, W_DATETIME, W_TIMEDELTA, W_OFFSET
        W_ZONE, W_DECIMAL, W_HASHED_DECIMAL, W_UUID, W_MEMBER, W_INSTANCE
    int64_t dict_weight "tt_dict_weight"(Py_ssize_t count) noexcept nogil
    int64_t padded_size "tt_padded"(int64_t size, int64_t weight) noexcept nogil
    void put_number "tt_put"(uint8_t* to, uint64_t number, int size) noexcept nogil
    uint64_t take_number "tt_take"(const uint8_t* start, int size) noexcept nogil
    uint64_t double_bits "tt_bits"(double number) noexcept nogil
    double bits_double "tt_double"(uint64_t bits) noexcept nogil


cdef inline int64_t big_weight(Py_ssize_t size) noexcept nogil:
    return 64 + 2 * size


cdef inline int64_t text_weight(Py_ssize_t size, bint is_ascii) noexcept nogil:
    return 64 + size if is_ascii else 96 + 4 * size


cdef inline int64_t bytes_weight(Py_ssize_t size) noexcept nogil:
    return 64 + size


cdef inline int64_t bytearray_weight(Py_ssize_t size) noexcept nogil:
    return 128 + size


cdef inline int64_t list_weight(Py_ssize_t count) noexcept nogil:
    return 80 + 8 * count


cdef inline int64_t tuple_weight(Py_ssize_t count) noexcept nogil:
    return 64 + 16 * count if count else 0


cdef inline int64_t mapping_weight(Py_ssize_t count) noexcept nogil:
    return dict_weight(count) + 64 * count


cdef inline int64_t set_weight(Py_ssize_t count) noexcept nogil:
    return 240 + (176 * count if count > 4 else 48 * count)


cdef inline int64_t deque_weight(Py_ssize_t count) noexcept nogil:
    return 928 + 32 * count


cdef inline int64_t ordered_weight(Py_ssize_t count) noexcept nogil:
    return 400 + mapping_weight(count) + 112 * count


cdef inline int64_t counter_weight(Py_ssize_t count) noexcept nogil:
    return 240 + mapping_weight(count)
