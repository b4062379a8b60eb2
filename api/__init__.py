"""The read-only API: GraphQL over what the writer has committed."""
