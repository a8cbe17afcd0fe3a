"""Live updates over the WebSocket."""
