"""Tables that can be checked: a record of the trials behind each table, in its file, and what is made of it again."""
