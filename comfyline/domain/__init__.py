"""What a job is and how it may change: values and pure functions, no I/O, no clock."""
