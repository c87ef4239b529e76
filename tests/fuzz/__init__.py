"""Hostile input for everything that reads what clients send."""
