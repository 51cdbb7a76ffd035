"""What all REST endpoints share: tokens, strict JSON, problems, pages, health, the schema."""
