"""Access: API keys, socket passes, the slots of owners, and semaphores."""
