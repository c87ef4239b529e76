"""The event handlers, one module for each kind of event; `table.py` refers to them."""
