"""The Librarian: an agent that answers questions over real documents and survives `kill -9`.

Run it with `python examples/librarian`; `--docs PATH` points it at a folder of your own.
"""
