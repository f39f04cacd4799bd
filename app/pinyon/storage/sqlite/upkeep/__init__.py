"""What is done beside requests: building, checking, compacting."""
