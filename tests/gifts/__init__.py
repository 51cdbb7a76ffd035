"""A saga over three services with two parallel groups: a gift, wrapped while it is engraved."""
