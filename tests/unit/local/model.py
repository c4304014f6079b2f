"""The specification of the adaptive policy: slow, exact, over int keys. The implementations are held against it."""

import math

M64 = (1 << 64) - 1


def mix64(x):
    """splitmix64's finalizer."""
    x = (x + 0x9E3779B97F4A7C15) & M64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M64
    return x ^ (x >> 31)


class Ghosts:
    """Keys that left, as (fingerprint, stamp) in buckets of eight: six places for probation's, two for main's."""

    def __init__(self, capacity):
        self.buckets, self.unit = max(4, (capacity + 3) // 4), 1
        while capacity > 4096 * self.unit:
            self.unit *= 2
        self.prints, self.stamps, self.live = [0] * (8 * self.buckets), [0] * (8 * self.buckets), {"p": 0, "m": 0}

    def places(self, h, kind):
        b = ((h >> 32) * self.buckets >> 32) * 8
        return range(b, b + 6) if kind == "p" else range(b + 6, b + 8)

    def take(self, h, kind, now):
        for i in self.places(h, kind):
            if self.prints[i] == ((h >> 16 & 0xFFFF) or 1):
                self.prints[i] = 0
                self.live[kind] -= 1
                return (now // self.unit - self.age(i, now)) * self.unit
        return None

    def age(self, i, now):
        return (now // self.unit - self.stamps[i]) % 65536

    def put(self, h, kind, stamp, now):
        best, oldest = None, -1
        for i in self.places(h, kind):
            if self.prints[i] == 0:
                best = i
                self.live[kind] += 1
                break
            if self.age(i, now) >= oldest:
                oldest, best = self.age(i, now), i
        self.prints[best], self.stamps[best] = (h >> 16 & 0xFFFF) or 1, stamp // self.unit


class Model:
    """The two lists as Python lists of keys, newest first; everything else as in the paper's words."""

    def __init__(self, capacity, seed):
        c = self.capacity = capacity
        self.multiplier = mix64(seed) | 1
        self.probation, self.main = [], []
        self.freq, self.stamp = {}, {}
        self.misses = self.main_ops = self.age_count = 0
        self.q_min = max(1, c // 100)
        self.q_max = max(self.q_min, min(c - 1, c * 99 // 100))
        self.q = float(min(self.q_max, max(self.q_min, math.floor(c * 0.1 + 0.5))))
        self.horizon = max(1, c // 2)
        self.ghosts = Ghosts(c)

    def __len__(self):
        return len(self.probation) + len(self.main)

    def __contains__(self, key):
        return key in self.freq

    @property
    def main_target(self):
        return self.capacity - int(self.q)

    def access(self, key):
        """Read a key, and put it where the read missed; tell whether it was there."""
        if key not in self.freq:
            self.miss(key)
            return False
        self.freq[key] = min(3, self.freq[key] + 1)
        if key in self.probation:
            self.probation.remove(key)
            self.probation.insert(0, key)
            self.stamp[key] = self.misses
        return True

    def delete(self, key):
        """Forget a key without a ghost."""
        if key in self.freq:
            (self.probation if key in self.probation else self.main).remove(key)
            del self.freq[key], self.stamp[key]

    def hashed(self, key):
        return key * self.multiplier & M64

    def rotate(self, key):
        self.freq[key] -= 1
        self.main.remove(key)
        self.main.insert(0, key)
        self.stamp[key] = self.misses
        self.main_ops += 1

    def settle(self):
        for _ in range(32):
            if not self.main or self.freq[self.main[-1]] == 0:
                return
            self.rotate(self.main[-1])

    def newer(self, stamp):
        self.settle()
        return not self.main or stamp > self.stamp[self.main[-1]]

    def drop_main(self):
        key = self.main.pop()
        self.main_ops += 1
        self.ghosts.put(self.hashed(key), "m", self.main_ops, self.main_ops)
        del self.freq[key], self.stamp[key]

    def to_main(self, key):
        self.freq[key], self.stamp[key] = 0, self.misses
        self.main.insert(0, key)
        self.main_ops += 1

    def age(self):
        self.age_count += 1
        if self.age_count < max(128, 8192 // max(1, len(self.main))):
            return
        self.age_count = 0
        if self.main and self.freq[self.main[-1]]:
            self.rotate(self.main[-1])
        elif self.main:
            self.drop_main()

    def make_room(self):
        tries = 0
        while len(self) >= self.capacity:
            if len(self.main) > self.main_target or not self.probation:
                self.settle()
                self.drop_main()
                continue
            key = self.probation.pop()
            if self.freq[key] >= 2:
                tries += 1
                if tries <= 32 and self.newer(self.stamp[key]):
                    self.to_main(key)
                    continue
            self.ghosts.put(self.hashed(key), "p", self.stamp[key], self.misses)
            del self.freq[key], self.stamp[key]
            self.q = max(self.q_min, self.q - 1 / 256)

    def step(self, other, own):
        return max(1.0, min(4.0, self.ghosts.live[other] / max(1, self.ghosts.live[own])))

    def learn(self, key):
        stamp = self.ghosts.take(self.hashed(key), "p", self.misses)
        if stamp is None:
            stamp = self.ghosts.take(self.hashed(key), "m", self.main_ops)
            if stamp is not None and self.main_ops - stamp <= self.horizon:
                self.q = max(self.q_min, self.q - self.step("p", "m"))
            return False
        promote = self.newer(stamp)
        oldest = self.misses - self.stamp[self.probation[-1]] if self.probation else 0
        if self.misses - stamp <= oldest + self.horizon:
            self.q = min(self.q_max, self.q + self.step("m", "p"))
        return promote

    def miss(self, key):
        self.misses += 1
        if len(self) >= self.capacity:
            self.age()
        promote = self.learn(key)
        if len(self) >= self.capacity:
            if promote and self.main and len(self.main) >= self.main_target:
                self.settle()
                self.drop_main()
            else:
                self.make_room()
        if promote or len(self.main) < self.main_target:
            self.to_main(key)
        else:
            self.freq[key], self.stamp[key] = 0, self.misses
            self.probation.insert(0, key)
