"""The intake: a request becomes a job."""
