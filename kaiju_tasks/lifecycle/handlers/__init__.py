"""What each event does to a task: one module for each kind of event; `table.py` names them."""
