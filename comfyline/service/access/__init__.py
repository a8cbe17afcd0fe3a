"""Keys, socket passes and slots."""
