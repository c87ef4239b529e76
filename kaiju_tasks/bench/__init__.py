"""Measures a manager and an executor, and compares them with the limit of their database."""
