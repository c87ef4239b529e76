"""Manages executors: their sessions, leases, assignments and reports."""
