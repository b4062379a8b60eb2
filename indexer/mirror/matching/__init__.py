"""Off-chain matching by the rules `price_time`: two books held equal, and the engine on them."""
