"""The fleet: the scaler, and the workers' reports that they are active."""
