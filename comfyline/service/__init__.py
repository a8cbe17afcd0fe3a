"""The service, one package for each subject. It knows neither AWS nor any wire format."""
