"""Measures a manager and an executor as processes, beside the limit of their database."""
