"""Distributes committed changes to subscribers, waiting callers and other managers."""
