"""Messages of channels behind a position: each names the one before it, so they are followed back.

No index names channels: to keep one cost the writer as much as the messages themselves.
"""

from sqlalchemy import BigInteger, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

BEHIND = (
    text("""
with recursive found as (
  select o.seq, o.prev_seq, o.message
    from tidebook.channels c join tidebook.outbox o using (seq)
   where c.channel = any(:channels) and o.seq > :after
  union all
  select o.seq, o.prev_seq, o.message
    from found join tidebook.outbox o on o.seq = found.prev_seq
   where o.seq > :after
)
select seq, message from found limit :most
""")
    .bindparams(
        bindparam("channels", type_=ARRAY(Text)),
        bindparam("after", type_=BigInteger),
        bindparam("most", type_=BigInteger),
    )
    .columns(seq=BigInteger, message=Text)
)
"""The messages of `channels` after seq `after`, in no order; `most` ends the search."""
