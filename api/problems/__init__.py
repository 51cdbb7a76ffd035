"""Problems (RFC 9457): their types, the exceptions that carry them, and the pages about them."""
