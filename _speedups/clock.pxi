# The machine's steady clock, read cheaply.
#
# A precise read costs 22 ns where a dict lookup costs 50, a coarse one 7. Entries and leases may end early by two
# ticks of the kernel (8 ms), never late, so `now` is the coarse monotonic clock (which is up to two of its
# resolutions behind: a tick takes over whole intervals only), plus twice its resolution, plus the time asleep. Only a
# suspend or a step of the wall clock changes wall - monotonic: that difference is compared whenever the coarse clock
# has moved on, and when it changed, the time asleep is measured anew. (Within one tick nothing can have slept:
# freezing and thawing processes alone takes longer.) Elsewhere than on Linux the precise monotonic clock is read, as
# SystemClock does.

cdef extern from *:
    """
    #include <time.h>

    static inline int64_t tt_read(clockid_t id) {
        struct timespec t;
        clock_gettime(id, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }

    #if defined(CLOCK_MONOTONIC_COARSE) && defined(CLOCK_REALTIME_COARSE) && defined(CLOCK_BOOTTIME)
    static struct { int64_t seen, wall, ahead; } tt_clock = {INT64_MIN, INT64_MIN, 0};

    static void tt_measure_sleep(int64_t wall) {
        struct timespec resolution;
        clock_getres(CLOCK_MONOTONIC_COARSE, &resolution);
        int64_t awake = tt_read(CLOCK_MONOTONIC);
        tt_clock.ahead = tt_read(CLOCK_BOOTTIME) - awake + 2 * resolution.tv_nsec;
        tt_clock.wall = wall;
    }

    static inline int64_t tt_now(void) {
        int64_t seen = tt_read(CLOCK_MONOTONIC_COARSE);
        if (tt_unlikely(seen != tt_clock.seen)) {
            int64_t wall = tt_read(CLOCK_REALTIME_COARSE) - seen;
            if (wall != tt_clock.wall) tt_measure_sleep(wall);
            tt_clock.seen = seen;
        }
        return seen + tt_clock.ahead;
    }
    #else
    static inline int64_t tt_now(void) { return tt_read(CLOCK_MONOTONIC); }
    #endif
    """
    int64_t steady_now "tt_now"() noexcept nogil


def now():
    """Return the current instant on the clock that counts suspend, as the store reads it (ns)."""
    return steady_now()
