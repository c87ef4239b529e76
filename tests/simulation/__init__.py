"""A seeded simulation of managers, executors, a network and a database on virtual time."""
