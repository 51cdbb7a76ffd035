"""Orders: the catalogue, what customers order of it, and the saga every order goes through."""
