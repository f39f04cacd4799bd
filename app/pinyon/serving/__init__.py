"""The life of a server, and its sockets."""
