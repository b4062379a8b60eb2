"""Who waits in a book's queues: of each level the newest orders there, as many as it counts.

No index knows who waits: an order leaves its queue once, and with such an index it would then be
told to all others anew. So a book costs its size, and what was placed at its prices since.
"""

OF_MARKET = """
  from tidebook.levels l cross join lateral (
    select * from tidebook.orders
     where market = l.market and side = l.side and price = l.price and queued
     order by placed_block desc, placed_log_index desc limit l.order_count) o
 where l.order_count > 0 and l.market = """
"""To be followed by the market: waiting orders are `o`."""
