"""One namespace in one process: its generations, its counters, its services, and one answer to fork."""
