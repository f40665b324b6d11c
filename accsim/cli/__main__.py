"""``python -m accsim.cli``: the command line without the console script."""

from accsim.cli import main

main()
