"""Jobs: the value, its lifecycle, its store and one verb a file."""
