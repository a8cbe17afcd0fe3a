"""Live updates: messages to the sockets that follow a job."""
