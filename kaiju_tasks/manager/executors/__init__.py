"""Executors as a manager sees them: who is connected, what they hold, what they report."""
