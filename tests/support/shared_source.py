"""A source that several processes write to, and that remembers in which order."""


class SharedSource:
    """A source in a file: one line a write, in the order in which they came, from whichever process."""

    def __init__(self, path):
        self._path = path

    def write(self, values):
        """Append lines."""
        self._append([f"{key} {value}" for key, value in values.items()])

    def delete(self, keys):
        """Append lines."""
        self._append([f"{key} deleted" for key in keys])

    def _append(self, lines):
        with self._path.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def lines(self):
        """Return the writes: pairs of key and value."""
        return [line.split() for line in self._path.read_text().splitlines()] if self._path.exists() else []

    def rows(self):
        """Return what stands at last."""
        return {key: value for key, value in dict(self.lines()).items() if value != "deleted"}

    def assert_order(self):
        """No key goes back to an earlier value."""
        by_key = {}
        for key, value in self.lines():
            by_key.setdefault(key, []).append(int(value))
        for key, values in by_key.items():
            assert values == sorted(values), f"{key} went back"
