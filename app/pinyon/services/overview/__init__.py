"""What the server has done lately, and what it does now, in numbers for people."""
