"""What the tests stand on: a PostgreSQL, processes, ports, and waiting for facts."""
