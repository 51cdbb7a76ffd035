"""Stories: every refusal and every undo of the sagas, on real PostgreSQL and without a broker."""
