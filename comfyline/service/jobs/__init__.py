"""Jobs: the value, its lifecycle, the port of its store, and one module for each use case."""
