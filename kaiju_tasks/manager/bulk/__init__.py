"""Bulk calls: one action for all tasks that match, in bounded slices, on any manager."""
