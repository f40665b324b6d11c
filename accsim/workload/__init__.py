"""What is to be computed: ops with their exact counts, traces of them, and the models that ship."""
