"""Real faults against real processes, and a ledger that proves what the commands did."""
