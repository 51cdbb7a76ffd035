"""Personal data: exports all that is held about a customer, and anonymises a customer."""
