"""How many workers there are and should be."""
