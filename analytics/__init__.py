"""Portfolios and markets: every figure computed from stored trades, orders, books and balances."""
