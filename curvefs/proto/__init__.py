"""Services and formats: one .proto each, and what protoc made of it."""
