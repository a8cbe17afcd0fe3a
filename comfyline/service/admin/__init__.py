"""What an operator sees of the whole service, and does about it."""
