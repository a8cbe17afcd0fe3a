"""Programs that generate files of this repository, and functions that tests share with them."""
