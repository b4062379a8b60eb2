"""JSON-RPC: what the chain looks like to a wallet."""
