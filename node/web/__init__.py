"""The HTTP server of a node: the static tree, the gateway, what can be sent to it, the pages."""
