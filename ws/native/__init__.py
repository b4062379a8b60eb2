"""Our own protocol on `/v1`: resumable channels with checksums and the chain's second thoughts."""
