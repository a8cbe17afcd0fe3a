"""What is measured and modelled rather than tested."""
