"""The ledger: sums over ended jobs, for metrics and for the usage of owners."""
