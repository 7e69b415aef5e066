"""Rules over an opened transcript, each a whole program of a query: copied beside it, registered, run in the room."""
