"""One namespace in one process: flows, single-flight, journal, life cycle and fork."""
