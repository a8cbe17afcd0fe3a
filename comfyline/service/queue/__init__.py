"""The queue: tickets, in one lane for each priority."""
