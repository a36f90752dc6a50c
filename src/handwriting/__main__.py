"""``python -m handwriting``: the same as the ``handwriting`` command."""

from handwriting.cli import main

main()
