"""Tools for agents: the Model Context Protocol (MCP), over HTTP and over stdio."""
