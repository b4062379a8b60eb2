"""The live feed: Redis Streams to websockets."""
