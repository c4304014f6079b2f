"""What `get` through Django's cache API costs when it hits the local tier, beside LocMemCache's.

Same keys, same values, backends made as Django makes them; both local, so that no server is timed.
`python bench/django_get.py` prints the ratio.
"""

import random

from django.conf import settings
from django.core.cache import CacheHandler
from interleaved import Candidate, each, interleave

KEYS = 200  # LocMemCache holds 300 unless told otherwise
TURNS = 20
GOAL = 0.15

settings.configure(SECRET_KEY="a key for the bench alone")  # noqa: S106 - guards nothing

VALUES = {
    "str": "a value of some forty characters, as pages",
    "dict": {"id": 7, "name": "Ada", "email": "ada@example.org", "active": True, "visits": 1234},
}


def main() -> None:
    """Time `get` of both backends in turns, and print what each took."""
    caches = CacheHandler(
        {
            "twotier": {"BACKEND": "twotier.django.TwoTierCache", "LOCATION": ""},
            "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        }
    )
    keys = [f"user:{number}" for number in range(KEYS)]
    for name, value in VALUES.items():
        for backend in caches.all():
            backend.set_many(dict.fromkeys(keys, value))
        asked = random.sample(keys, len(keys)) * TURNS
        timings = interleave([Candidate(alias, each(caches[alias].get, asked), len(asked)) for alias in caches])
        ratio = timings.ratio("twotier", "locmem")
        ours, theirs = timings.median("twotier"), timings.median("locmem")
        print(f"{name}: twotier {ours:.0f} ns, LocMemCache {theirs:.0f} ns, ratio {ratio:.3f} (goal: <= {GOAL})")


if __name__ == "__main__":
    main()
