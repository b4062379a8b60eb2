// Ponder wants an API; this one has none of its own.
import { Hono } from "hono";

export default new Hono();
