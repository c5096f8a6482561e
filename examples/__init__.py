"""Examples that run: one small file for each way of use, and the Librarian."""
