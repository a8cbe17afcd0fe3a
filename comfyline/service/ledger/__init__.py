"""The ledger: sums over ended jobs, for metrics and usage."""
