"""Programs that write files of this repository, and what they share with tests."""
