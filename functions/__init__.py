"""One module per Lambda: parse the event, call one use case, map the answer."""
