"""The configuration: read with every place kept, merged, resolved, checked against a schema."""
