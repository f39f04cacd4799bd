"""What is done at the same time: locks by name, changes that conflict, tasks that are cancelled."""
