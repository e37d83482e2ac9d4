"""What of a store can go, and how it goes without harm to anybody who works on it."""
