# The timer wheel finds entries past their stale window. (Varghese and Lauck's hierarchical wheel.)
#
# Time is cut into ticks of 2**20 ns (1.05 ms). Eight levels of 64 slots; an entry sits on the level of the highest
# six-bit digit in which its tick differs from the wheel's, in the slot of that digit. Scheduling and unscheduling are
# O(1). When the wheel's time reaches a slot of a higher level, its entries move down or, if their time is over, out;
# one by one and only as many as the caller allows, so that a million entries that expire together cost no call more
# than its share. The wheel then pauses (`draining`) until that slot is empty.
#
# The wheel only reclaims memory; no operation reads an entry's freshness from it. An entry whose lifetime was extended
# stays in its slot and moves on when the slot is emptied.
#
# Links: `wheel_next` ends in NONE; the first entry's `wheel_prev` names its slot, marked with IN_SLOT.

cdef enum:
    TICK_BITS = 20
    LEVELS = 8
    IN_SLOT = 0x80000000


cdef inline int digit(uint64_t tick, int level) noexcept nogil:
    return <int> (tick >> (6 * level)) & 63


cdef inline uint64_t tick_of(int64_t instant_) noexcept nogil:
    # Instants below 0 come before the others.
    return (<uint64_t> instant_ ^ <uint64_t> 1 << 63) >> TICK_BITS


cdef bint wheel_make(Table* t, int64_t now_) except False:
    t.wheel = <Wheel*> calloc(1, sizeof(Wheel))
    if t.wheel == NULL:
        raise MemoryError
    t.wheel.tick = tick_of(now_)
    return True


cdef void wheel_remove(Table* t, uint32_t i) noexcept nogil:
    # Unschedule the entry, which is scheduled.
    cdef uint32_t prev = t.details[i].wheel_prev, next_ = t.details[i].wheel_next
    if prev & IN_SLOT:
        prev &= ~<uint32_t> IN_SLOT
        t.wheel.slots[prev] = next_
        if next_ == NONE:
            t.wheel.occupied[prev >> 6] &= ~(<uint64_t> 1 << (prev & 63))
    else:
        t.details[prev].wheel_next = next_
    if next_ != NONE:
        t.details[next_].wheel_prev = t.details[i].wheel_prev
    t.wheel.scheduled -= 1


cdef void wheel_add(Table* t, uint32_t i, int64_t deadline) noexcept nogil:
    # Schedule the entry, which isn't.
    cdef Wheel* w = t.wheel
    cdef uint64_t tick = tick_of(deadline)
    cdef uint32_t level, slot, first
    if tick < w.tick:
        tick = w.tick
    level = highest(tick ^ w.tick) // 6 if tick != w.tick else 0
    slot = level * 64 + digit(tick, level)
    first = w.slots[slot]
    t.details[i].wheel_prev = IN_SLOT | slot
    t.details[i].wheel_next = first
    if first != NONE:
        t.details[first].wheel_prev = i
    w.slots[slot] = i
    w.occupied[level] |= <uint64_t> 1 << (slot & 63)
    w.scheduled += 1


cdef inline void wheel_update(Table* t, uint32_t i, int64_t before, int64_t deadline) noexcept nogil:
    # The entry's deadline moved.
    if before != NEVER:
        if deadline >= before and deadline != NEVER:
            return  # it is moved on when its slot is emptied
        wheel_remove(t, i)
    if deadline != NEVER:
        wheel_add(t, i, deadline)


cdef uint32_t wheel_next_due(Table* t, uint64_t tick, uint32_t* budget) noexcept nogil:
    # The next entry that is over before `tick`, still scheduled; NONE if there is none, or the budget is used up.
    cdef Wheel* w = t.wheel
    cdef uint32_t slot, i
    cdef int level
    cdef uint64_t later
    cdef int64_t at
    if w == NULL:
        return NONE
    while budget[0] > 0:
        if w.scheduled == 0:
            if w.tick < tick:
                w.tick = tick
            w.draining = 0
            return NONE
        if w.draining:
            slot = w.draining * 64 + digit(w.tick, w.draining)
            i = w.slots[slot]
            if i == NONE:
                w.draining = 0
                continue
        else:
            # The first occupied slot, by time: of the lowest level that has one.
            i = NONE
            for level in range(LEVELS):
                slot = digit(w.tick, level)
                later = w.occupied[level] >> slot
                if level > 0:
                    later &= ~<uint64_t> 1
                if later:
                    slot += lowest(later)
                    later = (w.tick >> (6 * level) & ~<uint64_t> 63 | slot) << (6 * level)
                    if later >= tick:
                        break
                    w.tick = later
                    if level > 0:
                        w.draining = level
                    i = w.slots[level * 64 + slot]
                    break
            if i == NONE:
                if w.tick < tick:
                    w.tick = tick
                    # The new time may be in a slot of a higher level: empty that slot next.
                    for level in range(LEVELS - 1, 0, -1):
                        if w.occupied[level] >> digit(tick, level) & 1:
                            w.draining = level
                            break
                    if w.draining:
                        continue
                return NONE
        budget[0] -= 1
        at = deadline_of(t, i)
        if at != NEVER and tick_of(at) < tick:
            return i
        wheel_remove(t, i)
        if at != NEVER:
            wheel_add(t, i, at)
    return NONE
