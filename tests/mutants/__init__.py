"""Removes the guards of the package one by one: for each, some test must fail."""
