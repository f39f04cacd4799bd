"""Work beside requests: following the writes, checking, repairing, compacting."""
