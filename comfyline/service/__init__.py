"""What the service is, sorted by subject. It knows neither AWS nor any wire format."""
