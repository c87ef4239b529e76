"""Lock, advance, save: what writes tasks, and what follows from them in the same transaction."""
