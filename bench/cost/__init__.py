"""What the control plane costs: the counted AWS calls of jobs, multiplied with the price list."""
